"""Bootstrap intervals of means, each 95 % and by percentiles.

What an interval covers is what it resamples: `mean_interval` and `paired_interval` resample
instructions, so they are conditional on this policy, this decoding and this judge;
`crossed_interval` resamples training seeds and instructions, so it also covers training the
same method again.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from farm.evaluation.variance import moments
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


def resamples(
    size: int, *, seed: int, name: str = "instructions", replicates: int = REPLICATES
) -> FloatArray:
    """How often each of `size` items is drawn in each bootstrap sample; [replicates, size]."""
    rng = generator(seed, "bootstrap", name, size)
    draws: NDArray[np.int64] = rng.integers(size, size=(replicates, size))
    cells = draws + size * np.arange(replicates)[:, None]
    counts = np.bincount(cells.ravel(), minlength=replicates * size)
    return counts.reshape(replicates, size).astype(np.float64)


def percentiles(replicates: FloatArray, estimate: float) -> Interval:
    """The estimate with the central 95 % of its bootstrap replicates."""
    tail = (100 - COVERAGE) / 2
    low, high = np.nanpercentile(replicates, [tail, 100 - tail])
    # Rounding must not put the mean of equal values outside its own interval.
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate))


def percentiles_of_rows(estimate_first_R: FloatArray) -> Interval:
    """`percentiles` of a statistic whose first row is the estimate; NaN where that is NaN."""
    estimate, replicates = float(estimate_first_R[0]), estimate_first_R[1:]
    return NOTHING if np.isnan(estimate) else percentiles(replicates, estimate)


def mean_interval(values_N: FloatArray, *, seed: int) -> Interval:
    """The mean of the values that are not NaN; resamples instructions."""
    values = np.asarray(values_N, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return NOTHING
    replicates = resamples(len(values), seed=seed) @ values / len(values)
    return percentiles(replicates, float(values.mean()))


def share_interval(shares_N: FloatArray, *, seed: int) -> Interval:
    """As `mean_interval`, for values in [0, 1], exact where all are 0 or all are 1."""
    shares = np.asarray(shares_N, dtype=np.float64)
    shares = shares[~np.isnan(shares)]
    return exact_if_unanimous(mean_interval(shares, seed=seed), len(shares))


def exact_if_unanimous(interval: Interval, n: int) -> Interval:
    """Clopper and Pearson's interval where all of n shares are 0 or all are 1, since resampling
    equal values says nothing; otherwise the interval as it is."""
    tail = (100 - COVERAGE) / 200
    if interval.estimate == 0:
        return Interval(0.0, 0.0, 1 - tail ** (1 / n))
    if interval.estimate == 1:
        return Interval(1.0, tail ** (1 / n), 1.0)
    return interval


def paired_interval(before_N: FloatArray, after_N: FloatArray, *, seed: int) -> Interval:
    """Mean of `after - before` on the same instructions; those with a NaN in either are left
    out."""
    return mean_interval(np.asarray(after_N) - np.asarray(before_N), seed=seed)


class Replicates(NamedTuple):
    """Means of M policies and their bootstrap replicates, drawn for all policies together."""

    estimates_M: FloatArray
    replicates_R_M: FloatArray


def crossed_interval(values_S_N: FloatArray, *, seed: int) -> Interval:
    """The mean over training seeds [S] and instructions [N], by `crossed_replicates`."""
    found = crossed_replicates(np.asarray(values_S_N)[None], seed=seed)
    estimate = float(found.estimates_M[0])
    return NOTHING if np.isnan(estimate) else percentiles(found.replicates_R_M[:, 0], estimate)


def crossed_paired_interval(
    before_S_N: FloatArray, after_S_N: FloatArray, *, seed: int
) -> Interval:
    """Mean of `after - before` over the same training seeds and instructions; cells with a NaN in
    either are left out."""
    return crossed_interval(np.asarray(after_S_N) - np.asarray(before_S_N), seed=seed)


def crossed_replicates(values_M_S_N: FloatArray, *, seed: int) -> Replicates:
    """Means over training seeds [S] and instructions [N], resampling both independently.

    A replicate is the mean plus the resampled deviations of the seeds' means plus those of the
    instructions'. NaN marks an instruction that a seed did not judge. Every seed weighs the same.

    Seeds' deviations are expanded (Hesterberg 2015, arXiv 1411.5279, the expanded percentile
    interval), because a handful of seeds, resampled, shows too little of the variance between them.
    Instructions' deviations are shrunk to the variance that instructions themselves explain: the
    residual is in the seeds' deviations already, and weights multiplied cell by cell would count it
    three times (Owen 2007, the pigeonhole bootstrap), so that equal methods would never differ.
    """
    values = np.asarray(values_M_S_N, dtype=np.float64)
    known = ~np.isnan(values)
    judged_M_S = known.sum(axis=2)
    seeds_M = (judged_M_S > 0).sum(axis=1)
    means_M_S = ratio(np.where(known, values, 0.0).sum(axis=2), judged_M_S)
    estimates_M = ratio(np.nansum(means_M_S, axis=1), seeds_M)
    share_M_S = 1 / np.maximum(seeds_M, 1)[:, None]
    of_seeds_M_S = np.nan_to_num(means_M_S - estimates_M[:, None]) * share_M_S
    share_M_S_N = (share_M_S / np.maximum(judged_M_S, 1))[..., None]
    of_instructions_M_N = (np.where(known, values - means_M_S[..., None], 0) * share_M_S_N).sum(1)
    expanded_M_S = _expansion(seeds_M)[:, None] * of_seeds_M_S
    shrunk_M_N = np.array([[_shrinkage(v)] for v in values]) * of_instructions_M_N
    weights_R_S = resamples(values.shape[1], seed=seed, name="seeds")
    weights_R_N = resamples(values.shape[2], seed=seed)
    return Replicates(
        estimates_M, estimates_M + weights_R_S @ expanded_M_S.T + weights_R_N @ shrunk_M_N.T
    )


def _expansion(seeds_M: FloatArray) -> FloatArray:
    """How much wider than a percentile interval Student's is, for this many seeds."""
    from scipy.stats import norm, t

    upper = 0.5 + COVERAGE / 200
    seeds = np.maximum(seeds_M, 2)  # one seed has no deviation to expand
    expansion: FloatArray = t.ppf(upper, seeds - 1) / norm.ppf(upper) * np.sqrt(seeds / (seeds - 1))
    return expansion


def _shrinkage(values_S_N: FloatArray) -> float:
    """The root of the share of instructions in the variance of the instructions' means."""
    found = moments(values_S_N)
    if np.isnan(found.seed):  # one seed: its residual is in the instructions alone
        return 1.0
    known = ~np.isnan(values_S_N)
    seeds_per_instruction = known.sum() / np.count_nonzero(known.any(axis=0))
    instruction = max(found.instruction, 0.0)
    total = instruction + max(found.residual, 0.0) / seeds_per_instruction
    return float(np.sqrt(instruction / total)) if total else 1.0


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Element by element, NaN where the bottom is 0."""
    quotient: FloatArray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return quotient
