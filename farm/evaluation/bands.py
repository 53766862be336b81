"""Means along a curve with their intervals; instructions are resampled once for the whole curve."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from farm.evaluation.intervals import COVERAGE, Interval, ratio, resamples
from farm.protocols import FloatArray


class Band(NamedTuple):
    """A curve over C points with the ends of its pointwise 95 % interval, each [C]."""

    mean_C: FloatArray
    low_C: FloatArray
    high_C: FloatArray


def band(values_C_N: FloatArray, *, seed: int) -> Band:
    """The mean over instructions [N] at every point [C] of a curve.

    NaN is an instruction without a value at that point: left out of it, and NaN where all are.
    """
    mean_C = curve_mean(values_C_N)
    means_R_C = weighted_means(values_C_N, resamples(values_C_N.shape[1], seed=seed))
    tail = (100 - COVERAGE) / 2
    ends_2_C = np.full((2, len(mean_C)), np.nan)
    some_C = ~np.isnan(mean_C)
    ends_2_C[:, some_C] = np.nanpercentile(means_R_C[:, some_C], [tail, 100 - tail], axis=0)
    # Rounding must not put the mean of equal values outside its own interval.
    return Band(mean_C, np.minimum(ends_2_C[0], mean_C), np.maximum(ends_2_C[1], mean_C))


def curve_mean(values_C_N: FloatArray) -> FloatArray:
    """The mean over instructions at every point, [C]; NaN as in `band`."""
    mean_C: FloatArray = weighted_means(values_C_N, np.ones((1, values_C_N.shape[1])))[0]
    return mean_C


def weighted_means(values_C_N: FloatArray, weights_R_N: FloatArray) -> FloatArray:
    """The mean at every point for every weighting of the instructions, [R, C]; NaN has no
    weight."""
    known_C_N = ~np.isnan(values_C_N)
    sums_R_C = weights_R_N @ np.where(known_C_N, values_C_N, 0.0).T
    return ratio(sums_R_C, weights_R_N @ known_C_N.astype(np.float64).T)


def among(replicates_R: FloatArray, estimate: float) -> Interval:
    """The estimate with the central 95 % of its replicates, for places rather than means: each end
    is one of the replicates, so they may be infinite or lie on a grid."""
    tail = (1 - COVERAGE / 100) / 2
    low, high = np.quantile(replicates_R, [tail, 1 - tail], method="inverted_cdf")
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate))


def columns(bands: Mapping[str, Band]) -> dict[str, FloatArray]:
    """As columns of a frame: name, name_low, name_high."""
    return {
        f"{name}{end}": values_C
        for name, found in bands.items()
        for end, values_C in zip(("", "_low", "_high"), found, strict=True)
    }
