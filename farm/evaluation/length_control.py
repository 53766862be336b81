"""Length-controlled win rates (Dubois et al. 2024, arXiv 2404.04475).

Length is one mediator of `farm.evaluation.mediators`, in characters, and the only one AlpacaEval
holds equal. Of AlpacaEval's variants, `length_controlled_minimal` is this without difficulty,
`length_controlled_noreg` with it, `length_controlled_v1` with it and the gamed baseline.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm.evaluation.controlled_rows import design
from farm.evaluation.glm import sigmoid
from farm.evaluation.mediators import (
    Controlled,
    Method,
    control,
    difficulty_and_model,
    pulls,
    variant,
)
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd


class LengthWeights(NamedTuple):
    """Of one policy, with AlpacaEval's signs and in the order of its tables of weights."""

    length: float
    """phi, of tanh((baseline's length - policy's length) / length_scale): negative where the judge
    likes the longer answer."""
    difficulty: float
    """psi; 0 without a difficulty."""
    model: float
    """theta: the log-odds of a win at difficulty 0 and equal lengths."""
    length_scale: float = float("nan")
    """Standard deviation (ddof 1) of the difference over the rows with a verdict, characters."""


class LengthControlled(Controlled[LengthWeights]):
    """A length-controlled win rate in percent, with AlpacaEval's weights."""

    __slots__ = ()


BASELINE = LengthWeights(0.0, 0.0, 0.0)


def length_controlled_win_rate(
    frame: "pd.DataFrame",
    *,
    difficulty: "pd.Series[float] | None" = None,
    gamed: "pd.DataFrame | None" = None,
    method: Method = "newton",
) -> LengthControlled:
    """What the judge would say at equal lengths: `controlled_win_rate` of the mediator length.

    `frame` and `gamed` have the columns instruction_id, length_baseline, length_model and
    preference. Equal or hardly varying lengths leave the win rate as it is. Raises `DataError` as
    `controlled_win_rate` does.
    """
    names = ["length"]
    table = design(frame, names, difficulty, gamed)
    found = control(table, method, _weights, variant(names, difficulty, gamed, method))
    return LengthControlled(*found)


def length_controlled_values(frame: "pd.DataFrame") -> FloatArray:
    """The rate in percent, without difficulty, as a mean of one value for each row of `frame`, of
    different instructions [N]: the rate plus N times what the instruction moves it by. So a mean
    over seeds and instructions has the rate's interval (`farm.evaluation.intervals`).

    NaN without a verdict, and everywhere where the rate is not identified.
    """
    table = design(frame, ["length"], None, None)
    values = np.full(len(frame), np.nan)
    found = control(table, "newton", lambda weights_K, _: weights_K, "length, newton")
    if found.identified:
        moved_N = 100 * pulls(table, found.weights)
        known = frame["preference"].notna().to_numpy()
        values[known] = found.value + table.n * (moved_N - moved_N.mean())
    return values


def _weights(weights_K: FloatArray, scales_M: FloatArray) -> LengthWeights:
    psi, theta = difficulty_and_model(weights_K, scales_M)
    return LengthWeights(float(weights_K[0]), psi, theta, float(scales_M[0]))


def predict_win_rate(
    weights: LengthWeights,
    other: LengthWeights = BASELINE,
    difficulty: "pd.Series[float] | FloatArray | None" = None,
) -> float:
    """The length-controlled win rate of one policy against another, in percent, from the weights
    of both against one baseline: the mean of sigmoid(theta - theta' + (psi - psi') gamma_x).

    Without `difficulty`, at difficulty 0.
    """
    gamma = np.zeros(1) if difficulty is None else np.asarray(difficulty, dtype=np.float64)
    against = weights.model - other.model + (weights.difficulty - other.difficulty) * gamma
    return float(100 * sigmoid(against).mean())
