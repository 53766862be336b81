"""Annotation of real pairs at a loopback endpoint with 50 ms latency: ours, alpaca_eval 0.6.6, and
the bare async client, all in one run.

    make bench-peers && python tests/benchmarks/bench_annotation.py [--rounds 3] [--many 100000]

805 pairs of ../shared/data/alpaca_eval2/pairs.parquet (or FARM_SHARED_DATA). The bare client sends
our prompts and does nothing else, at the best of several concurrencies. Then: the same judge again
with everything in its cache, and `--many` pairs in flat memory.
"""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farm.data.records import chunks, make_pair, user_instruction
from farm.types import Pair
from simulators.chat.cached import Cached
from simulators.chat.endpoint import Endpoint
from simulators.chat.limits import Limits
from simulators.chat.prices import Price
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import Letter
from simulators.judges.template import load_template, pairs_material

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEER = ROOT / ".peers" / "alpaca_eval" / "bin" / "python"
SHARED = Path(os.environ.get("FARM_SHARED_DATA", ROOT.parent / "shared" / "data"))
PAIRS = SHARED / "alpaca_eval2" / "pairs.parquet"
CONCURRENCIES = (32, 64, 128, 256)
CHUNK = 4096


@contextmanager
def server(latency_s: float) -> Iterator[str]:
    """A stub endpoint in a process of its own; its base URL."""
    process = subprocess.Popen(
        [sys.executable, HERE / "stub_server.py", str(latency_s)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()


def endpoint(base_url: str, concurrency: int) -> Endpoint:
    return Endpoint(
        model="stub",
        base_url=base_url,
        api_key_env=None,
        limits=Limits(concurrency=concurrency),
        price=Price(0.0, 0.0),
    )


def judge(model: Endpoint | Cached) -> Judge:
    return Judge(
        name="bench", prompt="letter", parser=Letter(), sampling=Sampling(1, 0.0), model=model
    )


def ours(base_url: str, pairs: list[Pair], concurrency: int, cache: str) -> float:
    """Pairs a second."""
    started = time.perf_counter()
    model = Cached(model=endpoint(base_url, concurrency), path=cache)
    judgments = judge(model).annotate(pairs, seed=0)
    assert all(judgment.preference is not None for judgment in judgments)
    return len(pairs) / (time.perf_counter() - started)


def bare(base_url: str, pairs: list[Pair], concurrency: int) -> float:
    """Requests a second of the client with our prompts and nothing around it."""
    template = load_template("letter", {"first": "P", "second": "Q"})
    asked = [
        [
            {"role": message.role, "content": message.content}
            for message in template.messages(pairs_material([pair], ("P", "Q")))
        ]
        for pair in pairs
    ]

    async def ask_all() -> float:
        from openai import AsyncOpenAI

        semaphore = asyncio.Semaphore(concurrency)

        async def ask(client: AsyncOpenAI, messages: object) -> None:
            async with semaphore:
                await client.chat.completions.create(
                    model="stub", messages=messages, max_tokens=1, temperature=0.0,  # type: ignore[arg-type]
                    logprobs=True, top_logprobs=5,
                )  # fmt: skip

        async with AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0) as client:
            started = time.perf_counter()
            await asyncio.gather(*(ask(client, messages) for messages in asked))
            return len(asked) / (time.perf_counter() - started)

    return asyncio.run(ask_all())


def peer(base_url: str, rows: Path, concurrency: int) -> float:
    """Pairs a second of alpaca_eval's weighted judge."""
    done = subprocess.run(
        [PEER, HERE / "annotation_peer.py", rows, base_url, str(concurrency)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds = float(done.stdout.split("SECONDS")[1])
    return 805 / seconds


def compare(rounds: int, pairs: list[Pair], rows: Path, folder: Path) -> str:
    """One line per contestant and concurrency, contestants in turns; the server's address."""
    found: dict[tuple[str, int], list[float]] = {}
    with server(0.05) as base_url:
        for number in range(rounds):
            for concurrency in CONCURRENCIES:
                cache = str(folder / f"{number}-{concurrency}.sqlite")
                found.setdefault(("bare client", concurrency), []).append(
                    bare(base_url, pairs, concurrency)
                )
                found.setdefault(("farm", concurrency), []).append(
                    ours(base_url, pairs, concurrency, cache)
                )
            if PEER.exists():
                for concurrency in (5, 64):
                    found.setdefault(("alpaca_eval 0.6.6", concurrency), []).append(
                        peer(base_url, rows, concurrency)
                    )
    for (name, concurrency), rates in found.items():
        spread = f"{min(rates):.0f}-{max(rates):.0f}"
        print(f"{name:>18} at {concurrency:>3}: {statistics.median(rates):7.1f} pairs/s ({spread})")
    best = {
        name: max(statistics.median(r) for (n, _), r in found.items() if n == name)
        for name in {name for name, _ in found}
    }
    print(f"farm / bare client: {best['farm'] / best['bare client']:.2f}")
    if "alpaca_eval 0.6.6" in best:
        print(f"farm / alpaca_eval: {best['farm'] / best['alpaca_eval 0.6.6']:.1f}")
    return base_url


def rerun(base_url: str, pairs: list[Pair], folder: Path) -> None:
    """Everything from the cache: the server is there no more."""
    cache = str(folder / "0-64.sqlite")
    rates = [ours(base_url, pairs, 64, cache) for _ in range(5)]
    print(f"cached rerun: {statistics.median(rates):,.0f} pairs/s")


def memory(count: int, folder: Path) -> None:
    """Peak memory of this process after the first tenth and after all pairs, asked in chunks."""
    texts = ("hay is good for cows. " * 20, "oats are better for horses. " * 20)
    with server(0.0) as base_url:
        annotator = judge(Cached(model=endpoint(base_url, 64), path=str(folder / "many.sqlite")))
        peaks, started = [], time.perf_counter()
        for numbers in chunks(range(count), CHUNK):
            pairs = [make_pair(user_instruction(f"question {n}"), *texts) for n in numbers]
            annotator.annotate(pairs, seed=0)
            if numbers[-1] >= count // 10 - 1:
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        rate = count / (time.perf_counter() - started)
    print(
        f"{count:,} pairs at {rate:.0f} pairs/s without latency; peak memory {peaks[0]:.0f} MB "
        f"after a tenth, {peaks[-1]:.0f} MB after all"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=100_000)
    arguments = parser.parse_args()
    if not PAIRS.exists():
        sys.exit(f"{PAIRS} is not there: name the folder of the data in FARM_SHARED_DATA")
    import pandas as pd

    frame = pd.read_parquet(PAIRS)
    frame = frame[frame["model"] == frame["model"].iloc[0]].reset_index(drop=True)
    pairs = [
        make_pair(user_instruction(row.instruction), row.output_1, row.output_2)
        for row in frame.itertuples()
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame.to_parquet(folder / "pairs.parquet")
        base_url = compare(arguments.rounds, pairs, folder / "pairs.parquet", folder)
        rerun(base_url, pairs, folder)
        if arguments.many:
            memory(arguments.many, folder)


if __name__ == "__main__":
    main()
