"""A control: whoever writes more wins (AlpacaEval's evaluator `longest`)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from farm.protocols import FloatArray
from farm.types import Judgment, Pair


class Longest:
    """Prefers the answer with more characters; a tie where they have as many. Judges any text."""

    stage_version: ClassVar[int] = 1

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Verdicts 0, 0.5 or 1."""
        expected = self.expectation(pairs).tolist()
        return [
            Judgment(pair.id, verdict, "longest", "ab", draw)
            for pair, verdict in zip(pairs, expected, strict=True)
        ]

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """The verdicts, which nothing random decides."""
        longer = [np.sign(len(pair.output_b) - len(pair.output_a)) for pair in pairs]
        return np.asarray((1 + np.array(longer, dtype=float)) / 2)
