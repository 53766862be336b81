"""Win rates against the reference, in percent."""

from typing import NamedTuple

import numpy as np

from farm.errors import DataError
from farm.evaluation.intervals import Interval, paired_interval, share_interval
from farm.protocols import FloatArray


class WinRate(NamedTuple):
    """A win rate in percent with its 95 % interval, conditional on this policy and judge."""

    value: float
    """Mean preference for the policy; NaN without any verdict."""
    standard_error: float
    """Standard deviation of the preferences over the root of their number."""
    low: float
    high: float
    n: int
    """Verdicts that count."""
    n_missing: int
    """Rows left out because the judge gave none."""
    ties: int
    """Verdicts of exactly one half."""
    discrete: float
    """Share of preferences above one half, ties half: AlpacaEval's discrete win rate."""

    @property
    def interval(self) -> Interval:
        """The value with the ends of its interval."""
        return Interval(self.value, self.low, self.high)


class Difference(NamedTuple):
    """One policy's win rate minus another's on the same instructions, in points of percent."""

    value: float
    standard_error: float
    low: float
    high: float
    n: int
    """Instructions on which both have a verdict."""
    n_missing: int


def win_rate(preference: FloatArray, *, seed: int = 0) -> WinRate:
    """Win rate of a policy from `preference` [N], P(its answer is better than the reference's).

    NaN means no verdict. The interval is the percentile bootstrap over instructions; where every
    verdict went the same way, it is the exact binomial one, since resampling equal values says
    nothing. Raises `DataError` where a preference lies outside [0, 1].
    """
    preferences = checked(preference)
    known = preferences[~np.isnan(preferences)]
    interval = share_interval(known, seed=seed)
    return WinRate(
        value=100 * interval.estimate,
        standard_error=standard_error(100 * known),
        low=100 * interval.low,
        high=100 * interval.high,
        n=len(known),
        n_missing=len(preferences) - len(known),
        ties=int((known == 0.5).sum()),
        discrete=float(50 * (1 + np.sign(known - 0.5)).mean()) if len(known) else float("nan"),
    )


def win_rate_difference(preference: FloatArray, other: FloatArray, *, seed: int = 0) -> Difference:
    """Win rate of `preference` [N] minus that of `other` [N], row by row the same instruction.

    Rows without one of the two verdicts are left out. The interval is the percentile bootstrap of
    the paired differences. Raises `DataError` as `win_rate` does, and where lengths differ.
    """
    one, two = checked(preference), checked(other)
    if len(one) != len(two):
        raise DataError(
            f"a difference needs both policies on the same instructions; here are {len(one)} and "
            f"{len(two)} preferences. Join them by instruction first, with NaN for no verdict."
        )
    gain = one - two
    known = gain[~np.isnan(gain)]
    value, low, high = paired_interval(100 * two, 100 * one, seed=seed)
    return Difference(
        value, standard_error(100 * known), low, high, len(known), len(gain) - len(known)
    )


def gold_win_rate(gold_N: FloatArray, gold_reference_N: FloatArray, *, seed: int = 0) -> WinRate:
    """Share of instructions where gold ranks the policy above the reference, ties half.

    Rows that gold cannot score (NaN) are left out and counted.
    """
    difference = np.asarray(gold_N, dtype=np.float64) - np.asarray(gold_reference_N, np.float64)
    return win_rate((np.sign(difference) + 1) / 2, seed=seed)


def checked(preference: FloatArray) -> FloatArray:
    """The preferences as floats; raises `DataError` where one lies outside [0, 1]."""
    preferences = np.asarray(preference, dtype=np.float64)
    outside = preferences[(preferences < 0) | (preferences > 1)]
    if len(outside):
        raise DataError(
            f"{len(outside)} of {preferences.size} preferences lie outside [0, 1], the first is "
            f"{outside[0]:g}. A preference is P(the model's answer is better); AlpacaEval's codes "
            "1 to 2 want `preference - 1`."
        )
    return preferences


def standard_error(values: FloatArray) -> float:
    """Of the mean of independent values; NaN with fewer than two."""
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))
