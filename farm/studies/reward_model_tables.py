"""What a reward-model study says: means over seeds, and differences from the baseline."""

from typing import TYPE_CHECKING

import numpy as np

from farm.evaluation.comparisons import holm
from farm.evaluation.reward_figures import FIGURES
from farm.studies.over_seeds import over_seeds, p_values
from farm.studies.reward_model_job import Measured
from farm.studies.reward_model_study import RewardModelStudy

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("accuracy", "brier", "calibration_error", "score_length")
"""Of these there are differences; a slope is good where it is 1, not where it is high."""


def reward_model_tables(measured: Measured, study: RewardModelStudy) -> dict[str, "pd.DataFrame"]:
    """`reward_models`, one row per variant and kind of `labels`: `FIGURES` with their intervals
    over seeds; `differences`, as below; `costs`, one row per variant: mean flops, wall_s, unscored,
    and the number of seeds."""
    costs = measured.costs.groupby("variant", sort=False)
    means = costs[["flops", "wall_s", "unscored"]].mean().assign(seeds=costs.size())
    return {
        "reward_models": over_seeds(measured.figures, ["variant", "labels"], FIGURES),
        "differences": differences(measured.figures, study.baseline),
        "costs": means.reset_index(),
    }


def differences(figures: "pd.DataFrame", baseline: str) -> "pd.DataFrame":
    """One row per other variant, kind of `labels` and `figure` of `COMPARED`: the mean over seeds
    of the `difference` from the baseline on the same seed, its interval and two-sided `p_value` by
    Student's t, and `adjusted`, the p-value after Holm among all variants with the same labels and
    figure. Intervals and p-values are NaN with one seed."""
    of = ["variant", "labels", "figure"]
    gains = _gains(figures, baseline).melt(
        ["seed", "variant", "labels"], var_name="figure", value_name="difference"
    )
    found = over_seeds(gains, of, ["difference"])
    found["p_value"] = p_values(gains, of, "difference")
    families = found.groupby(["labels", "figure"])["p_value"]
    return found.assign(adjusted=families.transform(lambda p: holm(p.to_numpy(np.float64))))


def _gains(figures: "pd.DataFrame", baseline: str) -> "pd.DataFrame":
    """What every other variant has more than the baseline, seed by seed."""
    index = ["seed", "labels"]
    rows = figures[["variant", *index, *COMPARED]]
    theirs = rows[rows["variant"] == baseline].set_index(index)[list(COMPARED)]
    others = rows[rows["variant"] != baseline].set_index(index)
    gained = others[list(COMPARED)] - theirs.reindex(others.index)
    return gained.assign(variant=others["variant"]).reset_index()
