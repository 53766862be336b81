"""The two laws of over-optimisation (Gao, Schulman and Hilton 2022, arXiv 2210.10760).

With d = sqrt(KL(policy || start)) and R(d) the gold utility gained since the start:

    best-of-n                R(d) = d (alpha - beta d)
    reinforcement learning   R(d) = d (alpha - beta log d)

Both are linear in alpha and beta, so least squares fits them exactly. They are for gold utility,
never for win rates, which saturate.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from farm.errors import DataError
from farm.evaluation.bands import among, curve_mean, weighted_means
from farm.evaluation.intervals import Interval, percentiles, resamples
from farm.protocols import FloatArray


class Law(NamedTuple):
    """A functional form."""

    name: str
    bend: Callable[[FloatArray], FloatArray]
    """What beta multiplies, as a function of d > 0."""
    peak: Callable[[float, float], float]
    """d where R is highest, of alpha and beta > 0."""


BEST_OF_N = Law("best-of-n", lambda d: d, lambda alpha, beta: max(0.0, alpha / (2 * beta)))
REINFORCEMENT = Law("reinforcement learning", np.log, lambda alpha, beta: _exp(alpha / beta - 1))


class Fit(NamedTuple):
    """A law fitted to gold utility. Intervals are 95 % over instructions: conditional on these
    policies and on their KL."""

    law: Law
    alpha: Interval
    beta: Interval
    peak: Interval
    """d where the law is highest; infinite where it never falls."""
    r_squared: float
    """Explained share of the variance of the mean gains around their mean, weighted as the fit."""

    def gain(self, d_C: FloatArray) -> FloatArray:
        """R(d), in the unit of gold utility."""
        gain_C: FloatArray = _terms(self.law, d_C) @ [self.alpha.estimate, self.beta.estimate]
        return gain_C


def fit_law(
    law: Law,
    kl_C: FloatArray,
    gold_C_N: FloatArray,
    *,
    seed: int,
    weights_C: FloatArray | None = None,
) -> Fit:
    """Fit a law to gold utility at C points of a curve, the start first, on N instructions.

    `kl_C` in nats; NaN gold is left out; `weights_C` are weights of the squared errors, for
    instance inverse variances (all equal by default). Raises `DataError` with fewer than two
    points of known KL above 0 and known gold.
    """
    gained_C_N = gold_C_N - gold_C_N[0]
    used_C = (kl_C > 0) & ~np.isnan(gained_C_N).all(axis=1)
    if used_C.sum() < 2:
        raise DataError(
            "a law has two coefficients and needs gold utility at two points with KL above 0; "
            f"there are {used_C.sum()}. Keep more checkpoints, and measure KL and gold at each."
        )
    gained_C_N = gained_C_N[used_C]
    design_C_2 = _terms(law, np.sqrt(kl_C[used_C]))
    squared_C = np.ones(len(design_C_2)) if weights_C is None else weights_C[used_C]
    root_C = np.sqrt(squared_C)
    solve_2_C = np.linalg.pinv(root_C[:, None] * design_C_2) * root_C

    gain_C = curve_mean(gained_C_N)
    gain_R_C = weighted_means(gained_C_N, resamples(gained_C_N.shape[1], seed=seed))
    alpha, beta = (float(coefficient) for coefficient in solve_2_C @ gain_C)
    alpha_R, beta_R = solve_2_C @ gain_R_C.T
    peak_R = np.array([_peak(law, *pair) for pair in zip(alpha_R, beta_R, strict=True)])
    return Fit(
        law,
        percentiles(alpha_R, alpha),
        percentiles(beta_R, beta),
        among(peak_R, _peak(law, alpha, beta)),
        _r_squared(gain_C, design_C_2 @ [alpha, beta], squared_C),
    )


def _terms(law: Law, d_C: FloatArray) -> FloatArray:
    """What alpha and beta multiply, [C, 2]; 0 at the start."""
    beyond_C = d_C > 0
    bend_C = np.where(beyond_C, law.bend(np.where(beyond_C, d_C, 1.0)), 0.0)
    return np.stack([d_C, -d_C * bend_C], axis=1)


def _peak(law: Law, alpha: float, beta: float) -> float:
    return law.peak(alpha, beta) if beta > 0 else math.inf


def _exp(exponent: float) -> float:
    """Infinite instead of an overflow: a law that hardly bends peaks beyond any policy."""
    return math.exp(exponent) if exponent < 700 else math.inf


def _r_squared(gain_C: FloatArray, fitted_C: FloatArray, weights_C: FloatArray) -> float:
    around_mean_C = gain_C - np.average(gain_C, weights=weights_C)
    left_over = weights_C @ (gain_C - fitted_C) ** 2
    return float(1 - left_over / (weights_C @ around_mean_C**2))
