"""What a reward-model study would have measured, made up from known truth, without running
anything."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from farm.evaluation.reward_figures import FIGURES, LABELS
from farm.seeds import generator
from farm.studies.reward_model_job import Measured
from farm.studies.reward_model_study import RewardModelStudy

BASELINE = "plain"
BETTER = {"plain": 0.0, "twin": 0.0, "good": 4.0, "bad": -3.0, "<b>odd</b> | name": 0.05}
"""Points of accuracy more than the baseline; the twin is the very same model."""


def study(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> RewardModelStudy:
    """The settings."""
    variants = {name: [f"reward.learning_rate={n}"] for n, name in enumerate(BETTER)}
    return RewardModelStudy(seeds=seeds, variants=variants, baseline=BASELINE)


def measured(seeds: Sequence[int] = (1, 2, 3, 4, 5), *, has_gold: bool = True) -> Measured:
    """Seeds differ by more than variants do; within a seed a variant errs by a third of a point."""
    cells = [(seed, name) for seed in seeds for name in BETTER]
    costs = [
        {"seed": seed, "variant": name, "flops": 2e12 * seed, "wall_s": 9.0, "unscored": 0}
        for seed, name in cells
    ]
    frames = [_figures(*cell, has_gold) for cell in cells]
    return Measured(pd.concat(frames, ignore_index=True), pd.DataFrame(costs))


def _figures(seed: int, name: str, has_gold: bool) -> pd.DataFrame:
    rows = pd.DataFrame({"labels": LABELS, "pairs": 100})
    of_seed = generator(seed, "seed").normal(0, 5)
    own = 0.3 * generator(seed, name).normal(size=len(LABELS)) if BETTER[name] else np.zeros(3)
    accuracy = 66 + of_seed + BETTER[name] + own
    known = {"accuracy": accuracy, "brier": 0.3 - accuracy / 1000, "annotators": [81.0, 65.5, 90.0]}
    rows = rows.assign(**{**dict.fromkeys(FIGURES, 0.2), **known}, seed=seed, variant=name)
    if not has_gold:
        rows.loc[rows["labels"] == "gold", list(FIGURES)] = np.nan
    return rows
