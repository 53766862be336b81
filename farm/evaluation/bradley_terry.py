"""Strengths of policies from preferences between them (Bradley and Terry 1952).

P(i is preferred to j) = sigmoid(strength_i - strength_j). Preferences may be soft; a tie is half a
win for either.
"""

import numpy as np

from farm.errors import DataError
from farm.protocols import FloatArray

RIDGE = 1e-3
"""Weight of the squared strengths, ours: keeps a policy that wins always at a finite strength and
moves others by less than their third digit."""
_STEPS = 200
_LONGEST_STEP = 2.0  # Newton overshoots where a policy wins nearly always


def bradley_terry(wins_R_M_M: FloatArray) -> FloatArray:
    """Strengths in log-odds with mean 0, [R, M], from wins of row over column, [R, M, M].

    By Newton's method with a small ridge, all R tables at once. Raises `DataError` where the
    policies fall into parts that were never compared.
    """
    wins = np.asarray(wins_R_M_M, dtype=np.float64)
    games = wins + wins.swapaxes(1, 2)
    _check_connected(games.sum(axis=0))
    policies = wins.shape[1]
    strengths: FloatArray = np.zeros(wins.shape[:2])
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))
        gradient = (wins - games * expected).sum(axis=2) - RIDGE * strengths
        information = games * expected * (1 - expected)
        hessian = (information.sum(axis=2) + RIDGE)[:, :, None] * np.eye(policies) - information
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        step -= step.mean(axis=1, keepdims=True)  # a common shift is rounding over the ridge
        strengths = strengths + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        if np.abs(step).max() < 1e-9:
            return strengths
    raise DataError(
        f"Bradley-Terry strengths did not settle in {_STEPS} steps; are there counts that are "
        "negative or not numbers?"
    )


def _check_connected(games_M_M: FloatArray) -> None:
    reached = np.zeros(len(games_M_M), dtype=bool)
    reached[0] = True
    for _ in games_M_M:
        reached |= (games_M_M[reached] > 0).any(axis=0)
    if not reached.all():
        raise DataError(
            f"{int((~reached).sum())} of {len(reached)} policies were compared with none of the "
            "others, directly or through one another; only connected policies can be ranked."
        )
