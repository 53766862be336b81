"""Figures that every seed has, over all seeds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from farm.evaluation.comparisons import holm
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


def differences(
    per_seed: "pd.DataFrame", baseline: str, by: Sequence[str], figures: Sequence[str]
) -> "pd.DataFrame":
    """One row per variant but the baseline, `by` and `figure`: the mean over seeds of the
    `difference` from the baseline on the same seed, its interval and two-sided `p_value` by
    Student's t, and `adjusted`, the p-value after Holm among all variants with the same `by` and
    figure. Intervals and p-values are NaN with one seed."""
    of = ["variant", *by, "figure"]
    gains = _gains(per_seed, baseline, by, figures).melt(
        ["seed", "variant", *by], var_name="figure", value_name="difference"
    )
    found = over_seeds(gains, of, ["difference"])
    found["p_value"] = p_values(gains, of, "difference")
    families = found.groupby([*by, "figure"])["p_value"]
    return found.assign(adjusted=families.transform(lambda p: holm(p.to_numpy(np.float64))))


def _gains(
    per_seed: "pd.DataFrame", baseline: str, by: Sequence[str], figures: Sequence[str]
) -> "pd.DataFrame":
    """What every other variant has more than the baseline, seed by seed."""
    index, columns = ["seed", *by], list(figures)
    rows = per_seed[["variant", *index, *columns]]
    theirs = rows[rows["variant"] == baseline].set_index(index)[columns]
    others = rows[rows["variant"] != baseline].set_index(index)
    gained = others[columns] - theirs.reindex(others.index)
    return gained.assign(variant=others["variant"]).reset_index()
