"""Verdicts drawn from utilities (Bradley and Terry 1952):
P(b is better) = sigmoid((u(b) - u(a)) / temperature)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from farm.data.records import is_canonical, tie
from farm.errors import ConfigError
from farm.protocols import FloatArray, Scorer
from farm.seeds import redraw, uniform
from farm.types import Judgment, Pair


class BradleyTerryAnnotator:
    """People as a simulator of theirs would have to find them: they know the utility of an answer,
    and say the better one is better the more often the clearer the difference is.

    Args:
        name: who it is; part of every draw's seed.
        utility: what is known of an answer; true utility, for instance.
        temperature: in units of utility; small is decided, large is erratic.

    No verdict where the utility is NaN. Raises ConfigError for a temperature that is not positive.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, name: str, utility: Scorer, temperature: float) -> None:
        if temperature <= 0:
            raise ConfigError(f"temperature={temperature}: must be above 0.")
        self._name = name
        self._utility = utility
        self._temperature = temperature

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Verdicts 0 or 1, drawn with their probabilities."""
        return [
            drawn_verdict(
                pair, p, self._name, redraw(seed, draw), draw, "this answer has no utility"
            )
            for pair, p in zip(pairs, self.expectation(pairs).tolist(), strict=True)
        ]

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """P(output_b is better); 0.5 for identical texts, NaN where there is no verdict."""
        instructions = [pair.instruction for pair in pairs]
        a = self._utility.score(instructions, [pair.output_a for pair in pairs])
        b = self._utility.score(instructions, [pair.output_b for pair in pairs])
        return preference((b - a) / self._temperature)


def preference(logits: FloatArray) -> FloatArray:
    """sigmoid."""
    return np.asarray(1 / (1 + np.exp(-logits)))


def drawn_verdict(
    pair: Pair, b_is_better: float, name: str, seed: int, draw: int, cannot_judge: str
) -> Judgment:
    """A verdict that says b with the given probability; NaN is no verdict.

    One draw for both orders, in canonical orientation: turning a pair round turns its verdict,
    unless the probability depends on the order.
    """
    if np.isnan(b_is_better):
        return Judgment(pair.id, None, name, "ab", error=cannot_judge)
    if pair.output_a == pair.output_b:
        return tie(pair, name)
    drawn = uniform(seed, "persona", name, pair.id)
    b_wins = drawn < b_is_better if is_canonical(pair) else drawn >= 1 - b_is_better
    return Judgment(pair.id, float(b_wins), name, "ab", draw)
