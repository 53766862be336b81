"""A persona: an annotator that is a program over what can be seen in two answers."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from farm.data.barnyard.features import measure, weight_vector
from farm.errors import ConfigError
from farm.protocols import FloatArray
from farm.seeds import redraw
from farm.types import Judgment, Pair
from simulators.bradley_terry import drawn_verdict, preference

_CANNOT_JUDGE = "the instruction is not the barnyard's, the only ones that personas can judge"


class Persona:
    """Prefers b with probability sigmoid((u(b) - u(a) - position_bias) / temperature) when it sees
    a first (Bradley-Terry with a weighted sum of features as utility u); no verdict on instructions
    that are not the barnyard's.

    Args:
        name: who it is; part of every draw's seed.
        weights: of the features in `farm.data.barnyard.features.FEATURES`.
        temperature: in units of utility; small is decided, large is erratic.
        position_bias: utility that the answer shown first gains.

    Raises ConfigError for an unknown feature or a temperature that is not positive.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        name: str,
        weights: Mapping[str, float],
        temperature: float,
        position_bias: float = 0.0,
    ) -> None:
        if temperature <= 0:
            raise ConfigError(f"temperature={temperature}: must be above 0.")
        self._name = name
        self._weights = weight_vector(weights, "weights")
        self._temperature = temperature
        self._position_bias = position_bias

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Verdicts 0 or 1, drawn with the persona's probabilities; output_a is shown first."""
        b_is_better = self._probability(self._gain(pairs), self._position_bias)
        return [
            drawn_verdict(pair, p, self._name, redraw(seed, draw), draw, _CANNOT_JUDGE)
            for pair, p in zip(pairs, b_is_better.tolist(), strict=True)
        ]

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """P(output_b is better), averaged over both orders; 0.5 for identical texts, NaN where
        there is no verdict."""
        gain = self._gain(pairs)
        ab = self._probability(gain, self._position_bias)
        ba = self._probability(gain, -self._position_bias)
        return (ab + ba) / 2

    def _gain(self, pairs: Sequence[Pair]) -> FloatArray:
        """u(b) - u(a), [N]; NaN where the instruction is not the barnyard's."""
        instructions = [pair.instruction for pair in pairs]
        a = measure(instructions, [pair.output_a for pair in pairs])
        b = measure(instructions, [pair.output_b for pair in pairs])
        return (b - a) @ self._weights

    def _probability(self, gain: FloatArray, position_bias: float) -> FloatArray:
        return preference((gain - position_bias) / self._temperature)
