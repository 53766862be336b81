"""Answers sampled and answers scored per second against the number of a pool's actors.

    python tests/benchmarks/pool_scaling.py

Sampling is bound by cores: more actors than cores gain nothing. Scoring by a scorer that only waits
(50 ms a piece of 256 answers, as a server would) is not: there the pool itself is measured.
Efficiency is the rate over the number of actors times the rate of one.
"""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from farm.data.barnyard.source import Barnyard
from farm.data.records import chunks
from farm.generation.sampler import FarmSampler
from farm.models.fresh import FreshLlama
from farm.models.tokenizers import WordLevel
from farm.pool import start_pool
from farm.protocols import FloatArray
from farm.scorers.pooled import pooled_scores
from farm.types import Decoding, Instruction, PolicyRef

LIMITS = {"max_prompt_tokens": 80, "max_new_tokens": 48}
LATENCY_S = 0.05


class WaitingScorer:
    """Waits for every piece, as for a server."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Zeros."""
        time.sleep(LATENCY_S)
        return np.zeros(len(completions))


def main() -> None:
    """Two tables."""
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    rows = list(
        Barnyard(
            sft=2000, preference=0, unlabeled=2048, validation=0, evaluation=0, held_out=0
        ).load()["unlabeled"]
    )
    with tempfile.TemporaryDirectory() as folder:
        policy = policy_of(Path(folder))
        sampler = FarmSampler(policy, 256, LIMITS["max_prompt_tokens"], "cpu")
        _table("sampling", (1, 2, 4), lambda pool: _sample(pool, sampler, rows))
    scored = rows * 16
    _table("scoring by one who waits 50 ms", (1, 2, 4, 8), lambda pool: _score(pool, scored))
    ray.shutdown()


def policy_of(folder: Path) -> PolicyRef:
    """Small and untrained, made in the folder."""
    texts = Barnyard(
        sft=2000, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0
    ).load()["sft"]
    fresh = FreshLlama(
        tokenizer=WordLevel(), hidden_size=96, layers=3, heads=4, intermediate_size=256,
        tie_embeddings=True, **LIMITS,  # type: ignore[arg-type]
    )  # fmt: skip
    return PolicyRef(fresh.build(texts, folder, seed=0), Decoding(1.0, LIMITS["max_new_tokens"]))


def _sample(pool, sampler: FarmSampler, rows: list[Instruction]) -> int:  # type: ignore[no-untyped-def]
    draw = partial(sampler.sample, n=1, seed=0)
    return sum(len(found) for found in pool.map(draw, list(chunks(rows, 256))))


def _score(pool, rows: list[Instruction]) -> int:  # type: ignore[no-untyped-def]
    return len(pooled_scores(WaitingScorer(), pool, rows, [""] * len(rows)))


def _table(title: str, counts: Sequence[int], work) -> None:  # type: ignore[no-untyped-def]
    print(f"| {title}: actors | answers/s | efficiency |\n| ---: | ---: | ---: |")
    one = 0.0
    for count in counts:
        pool = start_pool(
            count, gpus=0, restarts=0, timeout_s=300, start_timeout_s=120, key="cluster.samplers"
        )
        work(pool)  # models load
        began = time.perf_counter()
        rate = work(pool) / (time.perf_counter() - began)
        pool.stop()
        one = one or rate
        print(f"| {count} | {rate:.0f} | {rate / (count * one):.2f} |", flush=True)


if __name__ == "__main__":
    main()
