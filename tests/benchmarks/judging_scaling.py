"""Pairs judged per second against the number of a pool's actors.

    python tests/benchmarks/judging_scaling.py [PAIRS [MOST ACTORS]]

Bound by cores are the barnyard's personas, the overlap with the demonstration (chrF) and a judge
with a small untrained model; a judge that only waits (50 ms a piece of 64 pairs) is not: there the
pool itself is measured. Efficiency, in brackets, is the rate over the number of actors times the
rate of one; row 0 is the process that asks, without a pool. Personas are measured to show why they
judge where they are asked: a pair takes about as long to send as to judge.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pool_scaling import LATENCY_S, policy_of

import conf
from farm.config import build
from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair
from farm.pool import Pool, helped_by, in_pieces, start_pool
from farm.types import Judgment, Pair
from simulators.chat.local import LocalModel
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import Letter
from simulators.overlap import DemonstrationOverlap

PAIRS = 16_384
"""Which personas judge; chrF and the one who waits an eighth of them, the local model an eighth of
those."""
ACTORS = (0, 1, 2, 4, 8)
Judging = Callable[[], Sequence[Judgment]]


def wait(pairs: Sequence[Pair]) -> list[Judgment]:
    """The first answer always wins, after a while."""
    time.sleep(LATENCY_S)
    return [Judgment(pair.id, 0.0, "waiting", "ab") for pair in pairs]


def main(count: int, most: int) -> None:
    """One table."""
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    pairs = _pairs(count)
    few = pairs[: max(1, count // 8)]
    with tempfile.TemporaryDirectory() as folder:
        model = LocalModel(path=policy_of(Path(folder)).path, batch_size=16)
        local = Judge(
            name="local", prompt="letter", parser=Letter(), sampling=Sampling(max_tokens=1),
            model=model, max_unparsed=1.0,
        )  # fmt: skip
        judging: dict[str, Judging] = {
            "personas, pairs/s": lambda: in_pieces(
                partial(build(_personas()).annotate, seed=0), pairs
            ),
            "chrF": lambda: DemonstrationOverlap().annotate(few, seed=0),
            "a local model": lambda: local.annotate(few[: max(1, count // 64)], seed=0),
            "one who waits": lambda: in_pieces(wait, few),
        }
        _table(judging, [actors for actors in ACTORS if actors <= most])
    ray.shutdown()


def _table(judging: Mapping[str, Judging], counts: Sequence[int]) -> None:
    """A row for each number of actors, as soon as it is measured."""
    print(f"| actors | {' | '.join(judging)} |\n| ---: |{' ---: |' * len(judging)}")
    one: dict[str, float] = {}
    for count in counts:
        pool = start_pool(
            count, gpus=0, restarts=0, timeout_s=300, start_timeout_s=300, key="cluster.scorers"
        )
        rates = {name: _rate(judge, pool) for name, judge in judging.items()}
        pool.stop()
        one = rates if count == 1 else one
        cells = [
            f"{rate:.0f}" + (f" ({rate / (count * one[name]):.2f})" if count else "")
            for name, rate in rates.items()
        ]
        print(f"| {count} | {' | '.join(cells)} |", flush=True)


def _rate(judge: Judging, pool: Pool) -> float:
    """Pairs per second."""
    with helped_by(pool):
        judge()  # models load
        began = time.perf_counter()
        return len(judge()) / (time.perf_counter() - began)


def _personas() -> Any:
    path = Path(conf.__file__).parent / "annotators" / "clean" / "barnyard.yaml"
    return OmegaConf.to_container(OmegaConf.load(path))


def _pairs(count: int) -> list[Pair]:
    """Demonstrations against those of other instructions."""
    rows = Barnyard(
        sft=0, preference=count, unlabeled=0, validation=0, evaluation=0, held_out=0
    ).load()["preference"]
    texts = [row.demonstration or "" for row in rows]
    return [make_pair(*row) for row in zip(rows, texts, texts[1:] + texts[:1], strict=True)]


if __name__ == "__main__":
    asked = [int(argument) for argument in sys.argv[1:]]
    main(*asked, *(PAIRS, ACTORS[-1])[len(asked) :])
