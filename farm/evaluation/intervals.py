"""Bootstrap intervals of means, each 95 % and by percentiles.

What an interval covers is what it resamples: `mean_interval` and `paired_interval` resample
instructions, so they are conditional on this policy, this decoding and this judge;
`crossed_interval` resamples training seeds and instructions, so it also covers training the
same method again.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from farm.protocols import FloatArray
from farm.seeds import generator

REPLICATES = 2000
COVERAGE = 95.0


class Interval(NamedTuple):
    """An estimate with its interval, all in the unit of the values."""

    estimate: float
    low: float
    high: float


NOTHING = Interval(float("nan"), float("nan"), float("nan"))


def resamples(size: int, *, seed: int, name: str = "instructions") -> FloatArray:
    """How often each of `size` items is drawn in each bootstrap sample; [REPLICATES, size]."""
    rng = generator(seed, "bootstrap", name, size)
    draws: NDArray[np.int64] = rng.integers(size, size=(REPLICATES, size))
    cells = draws + size * np.arange(REPLICATES)[:, None]
    counts = np.bincount(cells.ravel(), minlength=REPLICATES * size)
    return counts.reshape(REPLICATES, size).astype(np.float64)


def percentiles(replicates: FloatArray, estimate: float) -> Interval:
    """The estimate with the central 95 % of its bootstrap replicates."""
    tail = (100 - COVERAGE) / 2
    low, high = np.nanpercentile(replicates, [tail, 100 - tail])
    # Rounding must not put the mean of equal values outside its own interval.
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate))


def mean_interval(values_N: FloatArray, *, seed: int) -> Interval:
    """The mean of the values that are not NaN; resamples instructions."""
    values = np.asarray(values_N, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return NOTHING
    replicates = resamples(len(values), seed=seed) @ values / len(values)
    return percentiles(replicates, float(values.mean()))


def paired_interval(before_N: FloatArray, after_N: FloatArray, *, seed: int) -> Interval:
    """Mean of `after - before` on the same instructions; those with a NaN in either are left
    out."""
    return mean_interval(np.asarray(after_N) - np.asarray(before_N), seed=seed)


def crossed_interval(values_S_N: FloatArray, *, seed: int) -> Interval:
    """The mean over training seeds [S] and instructions [N], resampling both independently.

    NaN marks an instruction that a seed did not judge. Every seed weighs the same. Deviations of
    the seeds are expanded (Hesterberg 2015, arXiv 1411.5279, the expanded percentile interval),
    because a handful of seeds, resampled, shows too little of the variance between them.
    """
    values = np.asarray(values_S_N, dtype=np.float64)
    values = values[~np.isnan(values).all(axis=1)]
    if not len(values):
        return NOTHING
    means_S = np.nanmean(values, axis=1)
    weights_R_N = resamples(values.shape[1], seed=seed)
    known = ~np.isnan(values)
    means_R_S = _ratio(weights_R_N @ np.where(known, values, 0.0).T, weights_R_N @ known.T)
    expanded_R_S = means_R_S + (_expansion(len(values)) - 1) * (means_S - means_S.mean())
    weights_R_S = resamples(len(values), seed=seed, name="seeds") / len(values)
    return percentiles((weights_R_S * expanded_R_S).sum(axis=1), float(means_S.mean()))


def _expansion(seeds: int) -> float:
    """How much wider than a percentile interval Student's is, for this many seeds."""
    from scipy.stats import norm, t

    if seeds == 1:
        return 1.0
    upper = 0.5 + COVERAGE / 200
    return float(t.ppf(upper, seeds - 1) / norm.ppf(upper) * np.sqrt(seeds / (seeds - 1)))


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return ratio
