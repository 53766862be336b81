"""Win rates at equal values of what a judge should not look at: length, lists, tone.

Dubois et al. 2024 (arXiv 2404.04475), section 3, with any number of mediators k in the place of
length: for policy m, baseline b and instruction x,

    P(m wins) = sigmoid(theta + sum_k phi_k tanh(delta_k / std(delta_k)) + psi gamma_x)

and the controlled win rate is the mean over instructions of sigmoid(theta + psi gamma_x): what the
judge would say if the answers did not differ in the mediators. delta_k is the baseline's value
minus the policy's, AlpacaEval's sign, so phi is negative where more is liked.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from farm.errors import ConfigError
from farm.evaluation.alpaca_eval_fit import fit_alpaca_eval
from farm.evaluation.controlled_rows import Design, design
from farm.evaluation.glm import GlmFit, Rows, fit_newton, influence, sigmoid
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["newton", "alpaca_eval"]
W = TypeVar("W")

_FITS: Mapping[Method, Callable[[Rows], GlmFit]] = {
    "newton": fit_newton,
    "alpaca_eval": fit_alpaca_eval,
}
_NORMAL = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""


class Controlled(NamedTuple, Generic[W]):
    """A controlled win rate in percent, and the model behind it."""

    value: float
    """NaN without any verdict."""
    standard_error: float
    """Delta method on the sandwich, over the draw of instructions and the judge's noise, difficulty
    taken as known; NaN where `identified` is False, as are the bounds."""
    weights: W
    converged: bool
    identified: bool
    """False where the data leave a weight open and the penalty decides it: verdicts that the
    predictors separate, or a mediator that always differs by the same amount."""
    low: float
    high: float
    """The 95 % interval, symmetric in log-odds."""
    published_standard_error: float
    """AlpacaEval's: of the mean prediction as if the weights were known; 0 without difficulty."""
    n: int
    """Verdicts that count."""
    n_missing: int
    """Rows left out because the judge gave no verdict."""
    variant: str
    """What was in the model, and the method."""


class Mediator(NamedTuple):
    """What one mediator adds to the log-odds."""

    weight: float
    """phi."""
    scale: float
    """The standard deviation (ddof 1) of the difference over the rows with a verdict."""


class MediatorWeights(NamedTuple):
    """Of one policy; the baseline's are 0."""

    mediators: dict[str, Mediator]
    difficulty: float
    """psi."""
    model: float
    """theta: the log-odds of a win at difficulty 0 and equal mediators."""


def controlled_win_rate(
    frame: "pd.DataFrame",
    mediators: Sequence[str],
    *,
    difficulty: "pd.Series[float] | None" = None,
    gamed: "pd.DataFrame | None" = None,
    method: Method = "newton",
) -> Controlled[MediatorWeights]:
    """The win rate with the mediators held equal.

    `frame` has one row per verdict: instruction_id, preference in [0, 1] (P(the policy's answer is
    better); NaN: no verdict) and, for each mediator, NAME_baseline and NAME_model; rows of one
    instruction are one draw to the standard error. `difficulty` is gamma by instruction id.
    `gamed` has the same columns for the baseline's own verbose and concise variants: against the
    baseline they differ in manner only, so they tie phi to what manner alone brings (the paper's
    regulariser, 0.1 a row). A column `model` in it tells the variants apart, each of which has its
    own standard deviation.

    `method` "newton" has a small ridge penalty; "alpaca_eval" is AlpacaEval's cross-validated L1
    penalty and equals its figures. Raises `DataError` on missing columns or difficulties and on
    numbers out of range.
    """

    def weights(weights_K: FloatArray, scales_M: FloatArray) -> MediatorWeights:
        pairs = map(Mediator, weights_K.tolist(), scales_M.tolist())
        return MediatorWeights(
            dict(zip(mediators, pairs, strict=True)), *difficulty_and_model(weights_K, scales_M)
        )

    table = design(frame, mediators, difficulty, gamed)
    return control(table, method, weights, variant(mediators, difficulty, gamed, method))


def variant(mediators: Sequence[str], difficulty: object, gamed: object, method: Method) -> str:
    """The name of what is fitted, and how."""
    optional = {"difficulty": difficulty, "gamed baseline": gamed}
    given = [name for name, value in optional.items() if value is not None]
    return f"{' + '.join([*mediators, *given])}, {method}"


def difficulty_and_model(weights_K: FloatArray, scales_M: FloatArray) -> tuple[float, float]:
    """psi, 0 where there is no such column, and theta."""
    return float(weights_K[len(scales_M) : -1].sum()), float(weights_K[-1])


def control(
    table: Design, method: Method, weights: Callable[[FloatArray, FloatArray], W], variant: str
) -> Controlled[W]:
    """The fit of a design; `weights` names its weights [K] and scales [M].

    Raises `ConfigError` on an unknown method.
    """
    if method not in _FITS:
        raise ConfigError(f"method {method!r} is none of {list(_FITS)}")
    fit = _FITS[method](table.rows) if table.n else _nothing(table)
    predicted_N = sigmoid(table.at_equality_N_K @ fit.weights_K)
    value = float(predicted_N.mean()) if table.n else float("nan")
    identified = fit.identified and not table.confounded
    error = _standard_error(table, fit.weights_K) if identified else float("nan")
    low, high = _interval(value, error)
    return Controlled(
        value=100 * value,
        standard_error=100 * error,
        weights=weights(fit.weights_K, table.scales_M),
        converged=fit.converged,
        identified=identified,
        low=100 * low,
        high=100 * high,
        published_standard_error=100 * _error_of_mean(predicted_N),
        n=table.n,
        n_missing=table.n_missing,
        variant=variant,
    )


def _nothing(table: Design) -> GlmFit:
    return GlmFit(np.full(table.rows.design_N_K.shape[1], np.nan), False, False)


def pulls(table: Design, weights_K: FloatArray) -> FloatArray:
    """How far each instruction moves the mean over instructions of sigmoid(theta + psi gamma_x):
    through the weights, and by being drawn; in the order of `table.instructions`' numbers."""
    predicted_N = sigmoid(table.at_equality_N_K @ weights_K)
    gradient_K = (predicted_N * (1 - predicted_N)) @ table.at_equality_N_K / table.n
    moved = influence(table.rows, weights_K, gradient_K)
    moved[-table.n :] += (predicted_N - predicted_N.mean()) / table.n
    return np.asarray(np.bincount(table.instructions, weights=moved), np.float64)


def _standard_error(table: Design, weights_K: FloatArray) -> float:
    by_instruction = pulls(table, weights_K)
    draws, parameters = len(by_instruction), np.count_nonzero(weights_K)
    if draws <= parameters:
        return float("nan")
    return float(np.sqrt(draws / (draws - parameters) * (by_instruction @ by_instruction)))


def _interval(value: float, error: float) -> tuple[float, float]:
    if math.isnan(error):
        return math.nan, math.nan
    variance = value * (1 - value)
    ends = np.log(value / (1 - value)) + np.array([-1, 1]) * _NORMAL * error / variance
    low, high = sigmoid(ends)
    return float(low), float(high)


def _error_of_mean(values: FloatArray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
