"""What a self-training study would have measured, made up from known truth, without running
anything."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from farm.seeds import generator
from farm.studies.self_training_job import Measured
from farm.studies.self_training_study import SelfTrainingStudy

BASELINE = "from base"
GAIN = {"from base": 6.0, "continued": 12.0, "cumulative": 6.0, "random filter": 0.0}
"""Points of accuracy that a round adds."""
ROUNDS = 2
TEMPERATURES = {0.0: 45.0, 0.7: 40.0}
"""Accuracy of the start; evaluation is at 0.7."""
TASKS, INSTRUCTIONS = 200, 400


def study(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> SelfTrainingStudy:
    """The settings."""
    variants = {name: [f"method.temperature={n}"] for n, name in enumerate(GAIN)}
    return SelfTrainingStudy(
        seeds=seeds, variants=variants, baseline=BASELINE, assessments={}, verifier=Nobody()
    )


class Nobody:
    """A verifier that is never asked."""

    def score(self, instructions: object, completions: object) -> Any:
        """No scores."""
        raise AssertionError


def measured(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> Measured:
    """Half of the first round's answers are right; the score of a right one is 2 higher than it
    would be were it wrong, and one task in ten breaks a rule."""
    cells = [(seed, name) for seed in seeds for name in GAIN]
    candidates = [
        _candidates(seed, number).assign(seed=seed, variant=name, round=number)
        for seed, name in cells
        for number in range(1, ROUNDS + 1)
    ]
    answers = [frame for seed, name in cells for frame in _answers(seed, name)]
    costs = [{"seed": s, "variant": n, "flops": 2e12, "wall_s": 9.0} for s, n in cells]
    return Measured(
        pd.concat(candidates, ignore_index=True),
        pd.concat(answers, ignore_index=True),
        pd.DataFrame(costs),
    )


def _candidates(seed: int, number: int) -> pd.DataFrame:
    rng = generator(seed, "tasks", number)
    words = rng.choice([f"word{n}" for n in range(50)], (TASKS, 5))
    right = rng.random(TASKS) < 0.5
    scores = rng.integers(1, 9, TASKS) + 2.0 * right
    dropped = pd.Series([None if n % 10 else "length" for n in range(TASKS)])
    rows = pd.DataFrame(
        {
            "text": [" ".join(row) for row in words],
            "dropped_by": dropped,
            "answer": ["so" if n % 10 else None for n in range(TASKS)],
            "verdict": right.astype(float),
            "score": scores,
            "by both": scores,
            "by noise": rng.integers(1, 11, TASKS).astype(float),
        }
    )
    rows.loc[rows["dropped_by"].notna(), ["verdict", "score", "by both", "by noise"]] = None
    return rows.assign(kept=rows["score"] >= 8)


def _answers(seed: int, name: str) -> Iterator[pd.DataFrame]:
    shares = {f"start at temperature {t:g}": share for t, share in TEMPERATURES.items()}
    for number in range(ROUNDS + 1):
        shares[str(number)] = TEMPERATURES[0.7] + number * GAIN[name]
    offset = generator(seed, "seed").normal(0, 2)
    for policy, share in shares.items():
        own = generator(seed, policy, name if policy not in ("0", *list(shares)[:2]) else "")
        right = own.permutation(INSTRUCTIONS) < INSTRUCTIONS * (share + offset) / 100
        rows = {"policy": policy, "category": "list", "verdict": right.astype(float)}
        yield pd.DataFrame(rows).assign(seed=seed, variant=name)
