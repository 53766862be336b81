"""Logistic regression without intercept on soft targets: Newton's method, and the sandwich."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from farm.protocols import FloatArray

RIDGE = 0.01
"""Weight of the penalty RIDGE/2 |w|^2: about a hundredth of one verdict. It keeps separable data
finite and moves nothing else."""

_LEAST_INFORMATION = 25 * RIDGE
"""Below this the penalty, not the data, decides a weight: where verdicts are separable, the
information is about RIDGE times the size of the weight, and no weight grows beyond 25."""


class Rows(NamedTuple):
    """What a fit reads; K columns, N rows."""

    design_N_K: FloatArray
    targets_N: FloatArray
    """In [0, 1]: a soft target y is y rows that say 1 and 1 - y rows that say 0."""
    row_weights_N: FloatArray


class GlmFit(NamedTuple):
    """Fitted weights and what is to be said about them."""

    weights_K: FloatArray
    converged: bool
    identified: bool
    """False where the data leave a weight open and the penalty decides it."""


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)) without overflow; sigmoid(-x) is 1 - sigmoid(x) to rounding."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def log_loss(logits: FloatArray, targets: FloatArray) -> FloatArray:
    """Minus the log likelihood of each soft target, in nats."""
    return np.asarray(np.logaddexp(0, logits) - targets * logits)


def information(rows: Rows, p_N: FloatArray) -> FloatArray:
    """Fisher information of the weights that predict p, the Hessian of the loss without penalty;
    [K, K]."""
    return (rows.design_N_K.T * (rows.row_weights_N * p_N * (1 - p_N))) @ rows.design_N_K


def fit_newton(rows: Rows) -> GlmFit:
    """The weights of the largest likelihood with the small ridge penalty."""
    design_N_K, targets_N, row_weights_N = rows

    def loss(weights: FloatArray) -> float:
        losses_N = log_loss(design_N_K @ weights, targets_N)
        return float(row_weights_N @ losses_N + 0.5 * RIDGE * weights @ weights)

    def step(weights: FloatArray) -> FloatArray:
        p_N = sigmoid(design_N_K @ weights)
        gradient = design_N_K.T @ (row_weights_N * (targets_N - p_N)) - RIDGE * weights
        hessian = information(rows, p_N) + RIDGE * np.eye(len(weights))
        return np.asarray(np.linalg.solve(hessian, gradient), np.float64)

    weights, converged = minimize(loss, step, np.zeros(design_N_K.shape[1]))
    return GlmFit(weights, converged, _identified(information(rows, sigmoid(design_N_K @ weights))))


def _identified(information_K_K: FloatArray) -> bool:
    """Whether the data inform every direction of the weights; columns of zeros have no say."""
    used = information_K_K.diagonal() > 0
    least = np.linalg.eigvalsh(information_K_K[np.ix_(used, used)])[:1]
    return bool((least > _LEAST_INFORMATION).all())


def minimize(
    loss: Callable[[FloatArray], float],
    step: Callable[[FloatArray], FloatArray],
    start: FloatArray,
    *,
    tolerance: float = 1e-9,
    iterations: int = 100,
) -> tuple[FloatArray, bool]:
    """Newton's method on a convex loss, a step halved while it makes the loss worse.

    Returns the weights and whether the last step was below the tolerance.
    """
    weights, current = start, loss(start)
    for _ in range(iterations):
        change = step(weights)
        while (after := loss(weights + change)) > current and np.abs(change).max() > tolerance:
            change = change / 2
        weights, current = weights + change, after
        if np.abs(change).max() <= tolerance:
            return weights, True
    return weights, False


def influence(rows: Rows, weights_K: FloatArray, gradient_K: FloatArray) -> FloatArray:
    """How far each row moves a function of the weights that has this gradient; [N].

    The sum of squares over independent rows is the function's sandwich variance (Huber 1967): also
    right for soft targets, whose spread around their mean is smaller than that of a coin.
    """
    p_N = sigmoid(rows.design_N_K @ weights_K)
    hessian = information(rows, p_N) + RIDGE * np.eye(len(weights_K))
    residuals_N = rows.row_weights_N * (rows.targets_N - p_N)
    return np.asarray(residuals_N * (rows.design_N_K @ np.linalg.solve(hessian, gradient_K)))
