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
    return Interval(estimate, float(low), float(high))


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

    NaN marks an instruction that a seed did not judge. Every seed weighs the same in the
    estimate. With S seeds the bootstrap sees (S - 1) / S of the variance between them.
    """
    values = np.asarray(values_S_N, dtype=np.float64)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    means_S = _ratio(filled.sum(axis=1), known.sum(axis=1).astype(np.float64))
    if np.isnan(means_S).all():
        return NOTHING
    weights_R_S = resamples(values.shape[0], seed=seed, name="seeds")
    weights_R_N = resamples(values.shape[1], seed=seed)
    means_R_S = _ratio(weights_R_N @ filled.T, weights_R_N @ known.T)
    weights_R_S = np.where(np.isnan(means_R_S), 0.0, weights_R_S)
    replicates = _ratio((weights_R_S * np.nan_to_num(means_R_S)).sum(1), weights_R_S.sum(1))
    return percentiles(replicates, float(np.nanmean(means_S)))


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return ratio
