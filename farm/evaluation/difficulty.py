"""Difficulty of instructions, estimated from the verdicts on many policies.

Dubois et al. 2024 (arXiv 2404.04475), as the notebook that made AlpacaEval's table: one logistic
regression over all policies m and instructions x,

    P(m wins on x) = sigmoid(theta_m + phi_m tanh(delta_mx / std_m) + psi_m gamma_x)

with gamma shared and psi_m fixed to 1. gamma is known up to a constant, which moves into theta_m:
the notebook sets the first instruction's to 0, here a small ridge keeps their mean near 0.
Controlled win rates do not depend on it.

Frames of annotations have the columns model, instruction_id, length_baseline, length_model and
preference in [0, 1] (NaN: no verdict, left out).
"""

from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm.errors import DataError
from farm.evaluation.controlled_rows import bounded, read_verdicts
from farm.evaluation.glm import RIDGE, log_loss, minimize, sigmoid
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd


class Difficulty(NamedTuple):
    """A joint estimate."""

    difficulty: "pd.Series[float]"
    """gamma by instruction id, in log-odds: higher where policies win against the baseline."""
    weights: "pd.DataFrame"
    """By model: length (phi), difficulty (psi) and model (theta), with AlpacaEval's signs."""
    converged: bool


def estimate_difficulty(annotations: "pd.DataFrame") -> Difficulty:
    """gamma of every instruction and theta, phi of every policy at once.

    Raises `DataError` as `controlled_win_rate` does.
    """
    return _joint(_grid(annotations))


def leave_one_out_difficulty(annotations: "pd.DataFrame") -> "pd.DataFrame":
    """gamma by instruction id (rows) for each policy (columns), from the others' verdicts alone.

    With its own verdicts among them, gamma takes up a part of a policy's luck, and its interval is
    too narrow. Raises `DataError` with fewer than two policies.
    """
    import pandas as pd

    grid = _grid(annotations)
    if len(grid.models) < 2:
        raise DataError("leaving one policy out needs verdicts on at least two policies")
    return pd.DataFrame(
        {model: _joint(grid.without(row)).difficulty for row, model in enumerate(grid.models)}
    )


def difficulty_given_weights(
    annotations: "pd.DataFrame", weights: "pd.DataFrame"
) -> "pd.Series[float]":
    """gamma by instruction id, of the largest likelihood where phi, psi and theta of each policy
    are known: a published table of `weights` by model, columns length, difficulty and model.

    Raises `DataError` where a policy has no weights.
    """
    import pandas as pd

    grid = _grid(annotations)
    if absent := [model for model in grid.models if model not in weights.index]:
        raise DataError(f"no weights for {absent}; the table has {list(weights.index)}")
    table_M_3 = weights.loc[grid.models, ["length", "difficulty", "model"]].to_numpy(np.float64)
    phi_M, psi_M, theta_M = table_M_3.T[:, :, None]
    fixed_M_N = theta_M + phi_M * grid.lengths_M_N

    def loss(gamma_N: FloatArray) -> float:
        return grid.loss(fixed_M_N + psi_M * gamma_N) + 0.5 * RIDGE * float(gamma_N @ gamma_N)

    def step(gamma_N: FloatArray) -> FloatArray:
        p_M_N = sigmoid(fixed_M_N + psi_M * gamma_N)
        slope_N = (psi_M * grid.known_M_N * (grid.preferences_M_N - p_M_N)).sum(axis=0)
        curvature_N = (psi_M**2 * grid.known_M_N * p_M_N * (1 - p_M_N)).sum(axis=0)
        return np.asarray((slope_N - RIDGE * gamma_N) / (curvature_N + RIDGE))

    gamma_N, _ = minimize(loss, step, np.zeros(len(grid.instruction_ids)))
    return pd.Series(gamma_N, grid.instruction_ids, name="difficulty")


class _Grid(NamedTuple):
    """Verdicts of M policies on N instructions; 0 where there is none."""

    models: list[Hashable]
    instruction_ids: "pd.Index[int]"
    lengths_M_N: FloatArray
    """tanh of the standardised difference of lengths."""
    preferences_M_N: FloatArray
    known_M_N: FloatArray
    """1 where there is a verdict."""

    def without(self, row: int) -> "_Grid":
        """The other policies' verdicts."""
        return self._replace(
            models=self.models[:row] + self.models[row + 1 :],
            lengths_M_N=np.delete(self.lengths_M_N, row, axis=0),
            preferences_M_N=np.delete(self.preferences_M_N, row, axis=0),
            known_M_N=np.delete(self.known_M_N, row, axis=0),
        )

    def loss(self, logits_M_N: FloatArray) -> float:
        """Minus the log likelihood of the verdicts, in nats."""
        return float((self.known_M_N * log_loss(logits_M_N, self.preferences_M_N)).sum())


def _grid(annotations: "pd.DataFrame") -> _Grid:
    import pandas as pd

    if "model" not in annotations.columns:
        raise DataError(f"annotations lack the column model; they have {list(annotations.columns)}")
    instruction_ids = pd.Index(annotations["instruction_id"].unique())
    by_model = dict(list(annotations.groupby("model", sort=False)))
    lengths, preferences, known = np.zeros((3, len(by_model), len(instruction_ids)))
    for row, (model, rows) in enumerate(by_model.items()):
        verdicts = read_verdicts(rows, ["length"])
        if not verdicts.instruction_ids.is_unique:
            raise DataError(f"{model!r} has several verdicts on one instruction")
        places = instruction_ids.get_indexer(verdicts.instruction_ids)
        lengths[row, places] = bounded(verdicts.differences_N_M)[:, 0]
        preferences[row, places] = verdicts.preferences_N
        known[row, places] = 1
    return _Grid(list(by_model), instruction_ids, lengths, preferences, known)


def _joint(grid: _Grid) -> Difficulty:
    """Newton's method on (phi_M, theta_M, gamma_N). The Hessian of gamma is diagonal, so each step
    solves for the 2 M weights of the policies first (Schur complement)."""
    import pandas as pd

    policies, instructions = grid.known_M_N.shape

    def parts(weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        phi_M, theta_M, gamma_N = np.split(weights, [policies, 2 * policies])
        return phi_M[:, None], theta_M[:, None], gamma_N

    def logits(weights: FloatArray) -> FloatArray:
        phi_M, theta_M, gamma_N = parts(weights)
        return theta_M + phi_M * grid.lengths_M_N + gamma_N

    def loss(weights: FloatArray) -> float:
        return grid.loss(logits(weights)) + 0.5 * RIDGE * float(weights @ weights)

    def step(weights: FloatArray) -> FloatArray:
        p_M_N = sigmoid(logits(weights))
        residuals_M_N = grid.known_M_N * (grid.preferences_M_N - p_M_N)
        curvature_M_N = grid.known_M_N * p_M_N * (1 - p_M_N)
        by_policy = [(grid.lengths_M_N * residuals_M_N).sum(axis=1), residuals_M_N.sum(axis=1)]
        gradient = np.concatenate([*by_policy, residuals_M_N.sum(axis=0)]) - RIDGE * weights
        return _schur_step(grid.lengths_M_N, curvature_M_N, gradient)

    weights, converged = minimize(loss, step, np.zeros(2 * policies + instructions))
    phi_M, theta_M, gamma_N = parts(weights)
    table = {"length": phi_M[:, 0], "difficulty": 1.0, "model": theta_M[:, 0]}
    return Difficulty(
        pd.Series(gamma_N, grid.instruction_ids, name="difficulty"),
        pd.DataFrame(table, index=grid.models),
        converged,
    )


def _schur_step(
    lengths_M_N: FloatArray, curvature_M_N: FloatArray, gradient: FloatArray
) -> FloatArray:
    """The Newton step of `_joint`."""
    policies = len(lengths_M_N)
    cross_M_N = lengths_M_N * curvature_M_N
    coupling = np.concatenate([cross_M_N, curvature_M_N])  # of (phi, theta) with gamma
    inner = np.block(
        [
            [np.diag((cross_M_N * lengths_M_N).sum(axis=1)), np.diag(cross_M_N.sum(axis=1))],
            [np.diag(cross_M_N.sum(axis=1)), np.diag(curvature_M_N.sum(axis=1))],
        ]
    ) + RIDGE * np.eye(2 * policies)
    diagonal_N = curvature_M_N.sum(axis=0) + RIDGE
    first, second = gradient[: 2 * policies], gradient[2 * policies :]
    schur = inner - (coupling / diagonal_N) @ coupling.T
    of_policies = np.linalg.solve(schur, first - coupling @ (second / diagonal_N))
    return np.concatenate([of_policies, (second - of_policies @ coupling) / diagonal_N])
