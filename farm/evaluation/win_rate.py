"""Win rates against the reference, in percent."""

from typing import NamedTuple

import numpy as np

from farm.evaluation.intervals import NOTHING, Interval, mean_interval
from farm.protocols import FloatArray


class WinRate(NamedTuple):
    """A win rate in percent with its 95 % interval, conditional on this policy and judge."""

    win_rate: float
    """Mean preference for the policy; a tie counts half. NaN without any verdict."""
    low: float
    high: float
    standard_error: float
    n: int
    """Verdicts that count."""
    no_verdict: int
    """Rows left out because the judge gave none."""
    ties: int


def win_rate(preferences_N: FloatArray, *, seed: int) -> WinRate:
    """Win rate of P(the policy's answer is better) in [0, 1]; NaN means no verdict.

    The interval is the percentile bootstrap over instructions; where every verdict went the same
    way, it is the exact binomial one, since resampling equal values says nothing.
    """
    preferences = np.asarray(preferences_N, dtype=np.float64)
    known = preferences[~np.isnan(preferences)]
    interval = _unanimous(known) or mean_interval(known, seed=seed)
    return WinRate(
        win_rate=100 * interval.estimate,
        low=100 * interval.low,
        high=100 * interval.high,
        standard_error=_standard_error(100 * known),
        n=len(known),
        no_verdict=len(preferences) - len(known),
        ties=int((known == 0.5).sum()),
    )


def gold_win_rate(gold_N: FloatArray, gold_reference_N: FloatArray, *, seed: int) -> WinRate:
    """Share of instructions where gold ranks the policy above the reference, ties half.

    Rows that gold cannot score (NaN) are left out and counted.
    """
    difference = np.asarray(gold_N, dtype=np.float64) - np.asarray(gold_reference_N, np.float64)
    return win_rate((np.sign(difference) + 1) / 2, seed=seed)


def _unanimous(known: FloatArray) -> Interval | None:
    """Clopper and Pearson's interval of all wins or all losses, at 95 %; None otherwise."""
    if not len(known):
        return NOTHING
    bound = 0.025 ** (1 / len(known))
    if (known == 1).all():
        return Interval(1.0, bound, 1.0)
    if (known == 0).all():
        return Interval(0.0, 0.0, 1 - bound)
    return None


def _standard_error(values: FloatArray) -> float:
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))
