"""What a study needs to tell two policies apart, from the variances that a pilot saw."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm.evaluation.variance import Components, Moments, moments, variance_components
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05
POWER = 0.8
SEEDS = (3, 5, 10, 20, 40)


class Bill(NamedTuple):
    """What a pilot cost."""

    labels_per_seed: float
    usd_per_label: float | None
    """None where a price is not known."""
    usd_per_verdict: float | None
    policies: int


def differences(values: Mapping[str, FloatArray]) -> Components:
    """Mean components, over all pairs of policies, of the difference of their win rates in points
    of percent; `values` holds P(better than the reference) by policy, [S, N]. Raises `DataError`
    with fewer than two seeds.

    They are cut at 0 after the mean: in a small pilot many a pair's own variance between seeds
    comes out below 0, and cutting pair by pair would bias the mean upwards, their median downwards.
    """
    pairs = [100 * (values[one] - values[other]) for one, other in combinations(values, 2)]
    mean = np.mean([moments(pair_S_N) for pair_S_N in pairs], axis=0)
    levels = variance_components(pairs[0]).levels
    found = dict(zip(Moments._fields, np.maximum(mean, 0.0).tolist(), strict=True))
    return Components(found, levels)


def plan_table(components: Components, bill: Bill, detect: Sequence[float]) -> "pd.DataFrame":
    """One row per difference to detect (points), claims made at once, and seeds: the instructions
    that find it with 80 % power at 5 % (Bonferroni's share where all pairs are claimed, which
    Holm's first step equals), with labels and dollars; NaN instructions where no number of them is
    enough.

    The difference over its standard error is compared with Student's t, degrees of freedom one less
    than the seeds.
    """
    import pandas as pd

    pairs = math.comb(bill.policies, 2)
    rows = [
        _row(components, bill, difference, claims, seeds)
        for difference, claims, seeds in product(detect, sorted({1, pairs}), SEEDS)
    ]
    return pd.DataFrame(rows)


def _row(
    components: Components, bill: Bill, difference: float, claims: int, seeds: int
) -> dict[str, float | None]:
    instructions = instructions_needed(components, difference, seeds, LEVEL / claims)
    labels = seeds * bill.labels_per_seed
    verdicts = seeds * instructions * bill.policies
    return {
        "difference": difference,
        "claims": claims,
        "seeds": seeds,
        "instructions": instructions,
        "labels": labels,
        "usd": _usd(bill, labels, verdicts),
    }


def _usd(bill: Bill, labels: float, verdicts: float) -> float | None:
    if bill.usd_per_label is None or bill.usd_per_verdict is None:
        return None
    return labels * bill.usd_per_label + verdicts * bill.usd_per_verdict


def instructions_needed(
    components: Components, difference: float, seeds: int, level: float
) -> float:
    """How many instructions bring the standard error down to what the difference needs; NaN where
    the seeds' own variance alone is above that."""
    from scipy.stats import t

    quantiles = t.ppf([1 - level / 2, POWER], seeds - 1)
    error = difference / quantiles.sum()
    of = components.variances
    left = error**2 - of["seed"] / seeds
    if left <= 0:
        return float("nan")
    return float(np.ceil((of["instruction"] + of["residual"] / seeds) / left))
