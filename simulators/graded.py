"""Raters as in HelpSteer2-Preference (arXiv 2410.01257): ratings of both answers by attributes,
and a preference that says how strong it is. Programs over what can be seen in two answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from farm.checks import require, require_at_least
from farm.data.barnyard.features import measure, weight_vector
from farm.data.records import is_canonical, tie, turn_judgment, turn_pair
from farm.errors import ConfigError
from farm.evaluation.glm import sigmoid
from farm.protocols import FloatArray
from farm.seeds import generator, redraw
from farm.types import Judgment, Pair
from simulators.chat.endpoint import record

_GRADES = np.array([-3, -2, -1, 1, 2, 3])
"""What a rater can say: the first answer is much better, better, slightly better, or the second."""
_LOWEST, _HIGHEST = 0, 4
_CANNOT_JUDGE = "the instruction is not the barnyard's, the only ones that these raters can judge"


@dataclass(frozen=True)
class Scale:
    """How an attribute is rated: `base` plus a weighted sum of an answer's features, in points."""

    base: float
    weights: Mapping[str, float]


class GradedRaters:
    """Several raters for each pair; its label is the mean of what they say, rounded.

    A rater's strength is drawn from an ordered logit (McCullagh 1980) of the difference of
    utilities: P(strength <= s) = sigmoid((cutoff_s - u(b) + u(a)) / temperature), the cutoffs being
    -cutoffs[1], -cutoffs[0], 0, cutoffs[0], cutoffs[1]; so one rater alone prefers b with Bradley
    and Terry's probability. A rating is the answer's `Scale` plus normal noise, rounded and kept in
    0..4. Taking the mean of all raters and rounding it, halves to the even grade, is ours; a mean
    strength of 0 is a tie. The preference is the strength's sign, `votes` are the raters' own
    sides. Ratings and strengths err independently.

    Args:
        name: who they are; part of every draw's seed.
        weights: of the features in `farm.data.barnyard.features.FEATURES`, for the utility.
        temperature: in units of utility; small is decided, large is erratic.
        cutoffs: utility differences from which an answer is rather `better` than `slightly better`,
            and rather `much better` than `better`.
        attributes: what both answers are rated by; names and scales.
        rating_noise: standard deviation of a rating before it is rounded, in points.
        raters: how many rate a pair; each number is equally likely.

    Which answer is shown first is nothing to them. No verdict on instructions that are not the
    barnyard's. Raises ConfigError for an unknown feature and for values out of range.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        name: str,
        weights: Mapping[str, float],
        temperature: float,
        cutoffs: tuple[float, float],
        attributes: Mapping[str, Scale],
        rating_noise: float,
        raters: Sequence[int] = (3, 4, 5),
    ) -> None:
        if temperature <= 0:
            raise ConfigError(f"temperature={temperature}: must be above 0.")
        clear, strong = cutoffs
        require("cutoffs", list(cutoffs), "two rising numbers above 0", 0 < clear < strong)
        require_at_least("rating_noise", rating_noise, 0)
        require("raters", list(raters), "one or more numbers from 1", min(raters, default=0) >= 1)
        scales = {attribute: record(Scale, scale) for attribute, scale in attributes.items()}
        self._name = name
        self._weights = weight_vector(weights, "weights")
        self._temperature = temperature
        self._cutoffs = np.array([-strong, -clear, 0.0, clear, strong])
        self._attributes = list(scales)
        self._bases_A = np.array([scale.base for scale in scales.values()])
        self._scales_A_F = np.array(
            [weight_vector(s.weights, f"attributes.{n}.weights") for n, s in scales.items()]
        ).reshape(len(scales), len(self._weights))
        self._rating_noise = rating_noise
        self._raters = sorted(raters)

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Labels with a strength in -3..3 and whole ratings in 0..4; identical texts are a tie
        that nobody rates."""
        canonical = [pair if is_canonical(pair) else turn_pair(pair) for pair in pairs]
        a_N_F, b_N_F = self._features(canonical)
        cumulative_N_5 = self._cumulative((b_N_F - a_N_F) @ self._weights)
        rated_N_2_A = self._bases_A + np.stack([a_N_F, b_N_F], 1) @ self._scales_A_F.T
        judgments = [
            self._judgment(pair, cumulative_5, rated_2_A, redraw(seed, draw), draw)
            for pair, cumulative_5, rated_2_A in zip(
                canonical, cumulative_N_5, rated_N_2_A, strict=True
            )
        ]
        return [
            judgment if is_canonical(pair) else replace(turn_judgment(judgment), order="ab")
            for pair, judgment in zip(pairs, judgments, strict=True)
        ]

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """P(the label prefers output_b), ties half; 0.5 for identical texts, NaN where there is no
        verdict."""
        a_N_F, b_N_F = self._features(pairs)
        cumulative_N_5 = self._cumulative((b_N_F - a_N_F) @ self._weights)
        says_N_6 = np.diff(cumulative_N_5, axis=1, prepend=0.0, append=1.0)
        each = [_side_of_mean(says_N_6, raters) for raters in self._raters]
        return np.asarray(np.mean(each, axis=0))

    def _features(self, pairs: Sequence[Pair]) -> tuple[FloatArray, FloatArray]:
        instructions = [pair.instruction for pair in pairs]
        a = measure(instructions, [pair.output_a for pair in pairs])
        b = measure(instructions, [pair.output_b for pair in pairs])
        return a, b

    def _cumulative(self, gains_N: FloatArray) -> FloatArray:
        """P(strength <= -3), ..., P(strength <= 2) of one rater; [N, 5]."""
        return sigmoid((self._cutoffs - gains_N[:, None]) / self._temperature)

    def _judgment(
        self, pair: Pair, cumulative_5: FloatArray, rated_2_A: FloatArray, seed: int, draw: int
    ) -> Judgment:
        if np.isnan(cumulative_5).any():
            return Judgment(pair.id, None, self._name, "ab", error=_CANNOT_JUDGE)
        if pair.output_a == pair.output_b:
            return replace(tie(pair, self._name), strength=0.0)
        rng = generator(seed, "graded", self._name, pair.id)
        raters = self._raters[rng.integers(len(self._raters))]
        grades_K = _GRADES[np.searchsorted(cumulative_5, rng.random(raters), side="right")]
        noise_K_2_A = rng.normal(0.0, self._rating_noise, (raters, *rated_2_A.shape))
        ratings_K_2_A = np.clip(np.rint(rated_2_A + noise_K_2_A), _LOWEST, _HIGHEST)
        strength = float(np.rint(grades_K.mean()))
        pairs_A_2 = np.rint(ratings_K_2_A.mean(axis=0)).T.tolist()
        return Judgment(
            pair.id,
            float(1 + np.sign(strength)) / 2,
            self._name,
            "ab",
            draw,
            strength=strength,
            attributes={n: (a, b) for n, (a, b) in zip(self._attributes, pairs_A_2, strict=True)},
            votes=tuple((grades_K > 0).astype(float).tolist()),
        )


def _side_of_mean(says_N_6: FloatArray, raters: int) -> FloatArray:
    """P(the rounded mean of the raters' grades is above 0), 0 counting half; [N]."""
    widest = 3 * raters
    sums_N_S = np.zeros((len(says_N_6), 2 * widest + 1))  # P(sum = s) at s + widest
    sums_N_S[:, widest] = 1
    for _ in range(raters):
        moved = [np.roll(sums_N_S, grade, axis=1) for grade in _GRADES]
        sums_N_S = np.einsum("ng,gns->ns", says_N_6, moved)
    sides_S = np.sign(np.rint(np.arange(-widest, widest + 1) / raters))
    return np.asarray(sums_N_S @ (1 + sides_S) / 2)
