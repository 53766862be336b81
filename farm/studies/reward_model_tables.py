"""What a reward-model study says: means over seeds, and differences from the baseline."""

from typing import TYPE_CHECKING

from farm.evaluation.reward_figures import FIGURES
from farm.studies.over_seeds import differences, over_seeds
from farm.studies.reward_model_job import Measured
from farm.studies.reward_model_study import RewardModelStudy

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("accuracy", "brier", "calibration_error", "score_length")
"""Of these there are differences; a slope is good where it is 1, not where it is high."""


def reward_model_tables(measured: Measured, study: RewardModelStudy) -> dict[str, "pd.DataFrame"]:
    """`reward_models`, one row per variant and kind of `labels`: `FIGURES` with their intervals
    over seeds; `differences` of `COMPARED` from the baseline; `costs`, one row per variant: mean
    flops, wall_s, unscored, and the number of seeds."""
    costs = measured.costs.groupby("variant", sort=False)
    means = costs[["flops", "wall_s", "unscored"]].mean().assign(seeds=costs.size())
    return {
        "reward_models": over_seeds(measured.figures, ["variant", "labels"], FIGURES),
        "differences": differences(measured.figures, study.baseline, ["labels"], COMPARED),
        "costs": means.reset_index(),
    }
