"""Pairs judged per second against the number of a pool's actors.

    python tests/benchmarks/judging_scaling.py [PAIRS]

Bound by cores are the barnyard's personas, the overlap with the demonstration (chrF) and a judge
with a small untrained model; a judge that only waits (50 ms a piece of 256 pairs) is not: there the
pool itself is measured. Row 0 is the process that asks, without a pool. Personas are measured to
show why they judge where they are asked: a pair takes about as long to send as to judge.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pool_scaling import LATENCY_S, policy_of, pool_of, print_table, rate_of

import conf
from farm.config import build
from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair
from farm.pool import Pool, helped_by, in_pieces
from farm.types import Judgment, Pair
from simulators.chat.local import LocalModel
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import Letter
from simulators.overlap import DemonstrationOverlap

PAIRS = 16_384
"""For the two slow ones, chrF and the local model, a sixteenth of them."""
ACTORS = (0, 1, 2, 4, 8)


def wait(pairs: Sequence[Pair]) -> list[Judgment]:
    """The first answer always wins, after a while."""
    time.sleep(LATENCY_S)
    return [Judgment(pair.id, 0.0, "waiting", "ab") for pair in pairs]


def main(count: int) -> None:
    """Four tables."""
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    pairs = _pairs(count)
    few = pairs[: max(1, count // 16)]
    with tempfile.TemporaryDirectory() as folder:
        model = LocalModel(path=policy_of(Path(folder)).path, batch_size=16)
        local = Judge(
            name="local", prompt="letter", parser=Letter(), sampling=Sampling(max_tokens=1),
            model=model, max_unparsed=1.0,
        )  # fmt: skip
        judging: dict[str, Callable[[], Sequence[Judgment]]] = {
            "personas": lambda: in_pieces(partial(build(_personas()).annotate, seed=0), pairs),
            "chrF": lambda: DemonstrationOverlap().annotate(few, seed=0),
            "a local model": lambda: local.annotate(few, seed=0),
            "one who waits 50 ms": lambda: in_pieces(wait, pairs),
        }
        rates: dict[str, dict[int, float]] = {name: {} for name in judging}
        for actors in ACTORS:
            pool = pool_of(actors)
            for name, judge in judging.items():
                rates[name][actors] = rate_of(partial(_helped, judge), pool)
            pool.stop()
    for name, measured in rates.items():
        print_table(f"judging by {name}", "pairs", measured)
    ray.shutdown()


def _helped(judge: Callable[[], Sequence[Judgment]], pool: Pool) -> int:
    with helped_by(pool):
        return len(judge())


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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS)
