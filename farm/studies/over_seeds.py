"""Figures that every seed has, over all seeds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from farm.evaluation.intervals import COVERAGE
from farm.evaluation.variance import Student

if TYPE_CHECKING:
    import pandas as pd


def over_seeds(
    per_seed: "pd.DataFrame", by: Sequence[str], figures: Sequence[str]
) -> "pd.DataFrame":
    """Means over the rows that share `by`, one of each seed, in the order in which they come; every
    figure with `_low` and `_high`, its 95 % interval by Student's t. NaN ends with one seed."""
    import pandas as pd
    from scipy.stats import t

    groups = per_seed.groupby(list(by), sort=False)[list(figures)]
    mean, seeds = groups.mean(), groups.count()
    reach = groups.sem() * t.ppf(0.5 + COVERAGE / 200, np.maximum(seeds - 1, 1))
    ends = [(mean - reach).add_suffix("_low"), (mean + reach).add_suffix("_high")]
    found: pd.DataFrame = pd.concat([mean, *ends], axis=1).reset_index()
    return found


def p_values(per_seed: "pd.DataFrame", by: Sequence[str], figure: str) -> list[float]:
    """Two-sided, by Student's t, that a figure's mean over seeds is 0; in the order of
    `over_seeds`, NaN with one seed."""
    errors = per_seed.groupby(list(by), sort=False)[figure].agg(["mean", "sem", "count"])
    return [
        Student(mean, error, seeds - 1).p_value
        for mean, error, seeds in errors.itertuples(index=False)
    ]
