"""The true utility of an answer, known because the barnyard is a grammar.

BarnyardGold(...).score(instructions, answers)    utility
BarnyardCorrect().score(instructions, answers)    1 for a right answer, 0 for a wrong one
"""

from collections.abc import Sequence
from typing import ClassVar

from farm.data.barnyard.features import FEATURES, measure, weight_vector
from farm.protocols import FloatArray
from farm.types import Instruction


class BarnyardGold:
    """Correctness plus manner, a function of instruction and answer text alone.

    Each argument is the weight of one term; the terms are explained in
    `farm.data.barnyard.features.FEATURES`. NaN for instructions that are not the barnyard's.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        correct: float = 1.0,
        partial: float = 0.5,
        complete: float = 0.2,
        courtesy: float = 0.4,
        excess: float = -0.05,
        repetition: float = -0.2,
        filler: float = -0.05,
    ) -> None:
        weights = {
            "correct": correct,
            "partial": partial,
            "complete": complete,
            "courtesy": courtesy,
            "excess": excess,
            "repetition": repetition,
            "filler": filler,
        }
        self._weights = weight_vector(weights, "data.gold")

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Utilities [N]."""
        return measure(instructions, completions) @ self._weights


class BarnyardCorrect:
    """Exact correctness, whatever the manner; NaN for instructions that are not the barnyard's."""

    stage_version: ClassVar[int] = 1

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """0 or 1 [N]."""
        return measure(instructions, completions)[:, list(FEATURES).index("correct")]
