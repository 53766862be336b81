"""Biases one can dial: annotators that let something else than quality decide a share of pairs.

With probability strength * |pull|, the pull of a pair in [-1, 1], the answer that the bias favours
wins, and nobody is asked; else the verdict is the inner annotator's. A preference q so becomes
(1 - s|pull|) q + s|pull| [pull > 0], whatever the inner annotator is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from farm.errors import ConfigError
from farm.evaluation.text_features import confidence, is_list
from farm.heartbeat import beat
from farm.protocols import Annotator, ExactAnnotator, FloatArray
from farm.seeds import redraw, uniform
from farm.types import Judgment, Pair


class _Bias:
    """What the biases share. Raises ConfigError unless 0 <= strength <= 1."""

    stage_version: ClassVar[int] = 1
    name: ClassVar[str]

    def __init__(self, *, annotator: Annotator, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise ConfigError(f"strength={strength}: a bias decides a share between 0 and 1.")
        self._annotator = annotator
        self._strength = strength
        if isinstance(annotator, ExactAnnotator):
            self._exact = annotator
            self.expectation = self._expectation

    def pull(self, pair: Pair) -> float:
        """How much the bias favours output_b, in [-1, 1]; negative for output_a."""
        raise NotImplementedError

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The bias's verdicts, `noised`, and the annotator's."""
        coins = redraw(seed, draw)
        judgments: dict[int, Judgment] = {}
        asked = []
        for index, pair in enumerate(pairs):
            pull = self.pull(pair)
            if uniform(coins, self.name, pair.id) < self._strength * abs(pull):
                verdict = Judgment(pair.id, float(pull > 0), self.name, "ab", draw)
                judgments[index] = replace(verdict, noised=True)
            else:
                asked.append(index)
        beat(len(judgments), {})
        said = self._annotator.annotate([pairs[i] for i in asked], seed=seed, draw=draw)
        judgments.update(zip(asked, said, strict=True))
        return [judgments[index] for index in range(len(pairs))]

    def _expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """P(output_b is better), exactly, over both orders."""
        pulls = np.array([self.pull(pair) for pair in pairs])
        share = self._strength * np.abs(pulls)
        return np.asarray((1 - share) * self._exact.expectation(pairs) + share * (pulls > 0))


class LengthBias(_Bias):
    """Favours the longer answer, the more the longer it is: pull (len b - len a) / max(len)."""

    name = "length_bias"

    def pull(self, pair: Pair) -> float:
        """In characters."""
        a, b = len(pair.output_a), len(pair.output_b)
        return (b - a) / max(a, b, 1)


class ListBias(_Bias):
    """Favours the answer that holds a list, where the other does not."""

    name = "list_bias"

    def pull(self, pair: Pair) -> float:
        """-1, 0 or 1."""
        return float(is_list(pair.output_b)) - float(is_list(pair.output_a))


class ToneBias(_Bias):
    """Favours the answer with more words of certainty and fewer of doubt."""

    name = "tone_bias"

    def pull(self, pair: Pair) -> float:
        """-1, 0 or 1."""
        return float(np.sign(confidence(pair.output_b) - confidence(pair.output_a)))


class PositionBias(_Bias):
    """Favours the answer shown first, output_a; `RandomOrder` around it averages this out, inside
    it nothing would. Its expectation, over both orders, has half of each."""

    name = "position_bias"

    def pull(self, pair: Pair) -> float:
        """-1, or 0 for identical texts."""
        return -float(pair.output_a != pair.output_b)

    def _expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        s = self._strength * np.array([abs(self.pull(pair)) for pair in pairs])
        return np.asarray((1 - s) * self._exact.expectation(pairs) + s / 2)
