"""Length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475), the "minimal" variant.

P(the policy wins) = sigmoid(theta + phi * tanh(d / std(d))), with d the policy's length minus the
reference's; the length-controlled win rate is 100 * sigmoid(theta): what the judge would say at
equal lengths. The paper's full model adds instruction difficulty, a cross-validated penalty and
rows of a gamed baseline; this variant leaves them out, and says so in its name.
"""

from typing import NamedTuple

import numpy as np

from farm.protocols import FloatArray

RIDGE = 0.01
"""Weight of the penalty on theta and phi: about a hundredth of one verdict. It keeps separable
data finite and moves nothing else."""


class LengthControlled(NamedTuple):
    """A length-controlled win rate, in percent."""

    win_rate: float
    """NaN without any verdict."""
    theta: float
    """Log-odds of a win at equal lengths."""
    phi: float
    """Log-odds that length adds; positive where the judge likes the longer answer."""
    n: int
    """Verdicts that count."""
    variant: str = "minimal"


def length_controlled_win_rate(
    preferences_N: FloatArray, length_model_N: FloatArray, length_reference_N: FloatArray
) -> LengthControlled:
    """The minimal variant from soft preferences in [0, 1] (NaN: no verdict) and lengths in
    characters, as AlpacaEval measures them."""
    preferences = np.asarray(preferences_N, dtype=np.float64)
    known = ~np.isnan(preferences)
    if not known.any():
        return LengthControlled(float("nan"), float("nan"), float("nan"), 0)
    longer = np.asarray(length_model_N, np.float64) - np.asarray(length_reference_N, np.float64)
    design = np.stack([np.ones(int(known.sum())), _bounded(longer[known])], axis=1)
    theta, phi = _fit(design, preferences[known])
    return LengthControlled(float(100 * _sigmoid(theta)), float(theta), float(phi), len(design))


def _bounded(difference_N: FloatArray) -> FloatArray:
    """tanh of the standardised difference; 0 where the differences do not vary."""
    # Equal differences cannot tell length from quality.
    spread = difference_N.std(ddof=1) if len(difference_N) > 1 else 0.0
    return np.tanh(difference_N / spread) if spread > 0 else np.zeros_like(difference_N)


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _loss(weights: FloatArray, design: FloatArray, targets: FloatArray) -> float:
    logits = design @ weights
    negative_log_likelihood = np.logaddexp(0, logits) - targets * logits
    return float(negative_log_likelihood.sum() + 0.5 * RIDGE * weights @ weights)


def _fit(design: FloatArray, targets: FloatArray) -> FloatArray:
    """Newton's method with halved steps; the problem is strictly convex."""
    weights = np.zeros(design.shape[1])
    for _ in range(100):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - targets) + RIDGE * weights
        hessian = (design.T * (p * (1 - p))) @ design + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        before = _loss(weights, design, targets)
        while _loss(weights - step, design, targets) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    return weights
