"""Simulated judges whose quality, difficulty and length effects are known."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from farm.evaluation.glm import sigmoid
from farm.protocols import FloatArray

SPREAD = 600.0
"""Standard deviation of the difference of lengths, characters."""
DIFFICULTY_SPREAD = 2.0

Labels = Callable[[FloatArray, np.random.Generator], FloatArray]


def coin(p_N: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One hard verdict."""
    return (rng.random(len(p_N)) < p_N).astype(float)


def four_votes(p_N: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The share of four independent hard verdicts."""
    return rng.binomial(4, p_N) / 4


def beta(p_N: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A probability around p, as a judge's log-probabilities give it."""
    return rng.beta(3 * p_N, 3 * (1 - p_N))


class Judge(NamedTuple):
    """P(the policy wins) = sigmoid(theta + phi tanh(delta / 600) + psi gamma), delta being the
    baseline's length minus the policy's."""

    theta: float
    phi: float
    psi: float
    longer_by: float
    """Mean of the policy's length minus the baseline's, characters."""
    labels: Labels

    def draw(self, n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.Series]:
        """Verdicts on n new instructions, and their difficulty."""
        design_N_3 = self.design(n, rng)
        preferences_N = self.labels(sigmoid(design_N_3 @ self.weights), rng)
        difference_N = SPREAD * np.arctanh(design_N_3[:, 0])
        baseline_N = rng.uniform(3000, 6000, n)
        frame = pd.DataFrame(
            {
                "instruction_id": np.arange(n),
                "length_baseline": baseline_N,
                "length_model": baseline_N - difference_N,
                "preference": preferences_N,
            }
        )
        return frame, pd.Series(design_N_3[:, 1])

    @property
    def weights(self) -> FloatArray:
        """phi, psi and theta."""
        return np.array([self.phi, self.psi, self.theta])

    def design(self, n: int, rng: np.random.Generator) -> FloatArray:
        """tanh(delta / 600), gamma and 1, [N, 3]."""
        standardised = rng.normal(-self.longer_by / SPREAD, 1, n)
        gamma = rng.normal(0, DIFFICULTY_SPREAD, n)
        return np.column_stack([np.tanh(standardised), gamma, np.ones(n)])

    def truth(self) -> float:
        """The quality-only win rate in percent: the mean over gamma of sigmoid(theta + psi gamma),
        by Gauss and Hermite."""
        nodes, masses = np.polynomial.hermite_e.hermegauss(80)
        at_nodes = sigmoid(self.theta + self.psi * DIFFICULTY_SPREAD * nodes)
        return float(100 * at_nodes @ masses / masses.sum())

    def bound(self, n: int, votes: int, rng: np.random.Generator) -> float:
        """The Cramér-Rao bound on the standard error of `truth` from n instructions with so many
        hard verdicts each, in points: of the weights that are fitted, by the delta method, and of
        the mean over instructions."""
        fitted = [0, 2] if self.psi == 0 else [0, 1, 2]
        design = self.design(200_000, rng)
        p = sigmoid(design @ self.weights)
        information = (design.T * (p * (1 - p))) @ design / len(design)
        at_equality = design * [0, 1, 1]
        q = sigmoid(at_equality @ self.weights)
        gradient = ((q * (1 - q)) @ at_equality / len(design))[fitted]
        of_weights = np.linalg.solve(information[np.ix_(fitted, fitted)], gradient)
        return float(100 * np.sqrt((gradient @ of_weights / votes + q.var()) / n))


def truncation_attack(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """The baseline's own answers, half of them cut to a random share: the verdicts on them, those
    on the baseline's verbose and concise variants, and the quality-only win rate in percent.

    The judge likes length (phi = -1), and a cut answer for what it lacks loses up to 6 log-odds:
    a fit that sees the cut answers alone takes the loss for a liking of length.
    """
    baseline_N = rng.uniform(1000, 3000, n)
    kept_N = np.where(rng.random(n) < 0.5, 1.0, rng.uniform(0.05, 1, n))
    quality_N = -6 * (1 - kept_N)
    attack = _verdicts(baseline_N, kept_N * baseline_N, quality_N, rng)
    variants = [
        _verdicts(baseline_N, baseline_N + rng.normal(longer_by, 300, n), 0 * quality_N, rng)
        for longer_by in (400, -500)
    ]
    gamed = pd.concat(variants, keys=["verbose", "concise"], names=["model", None])
    return attack, gamed.reset_index("model"), float(100 * sigmoid(quality_N).mean())


def _verdicts(
    baseline_N: FloatArray, model_N: FloatArray, quality_N: FloatArray, rng: np.random.Generator
) -> pd.DataFrame:
    likes_length_N = -np.tanh((baseline_N - model_N) / SPREAD)
    return pd.DataFrame(
        {
            "instruction_id": np.arange(len(baseline_N)),
            "length_baseline": baseline_N,
            "length_model": model_N,
            "preference": coin(sigmoid(quality_N + likes_length_N), rng),
        }
    )
