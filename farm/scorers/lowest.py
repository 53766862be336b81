"""Several questions about an answer, of which the worst score counts."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from farm.checks import require
from farm.protocols import FloatArray, Scorer
from farm.types import Instruction


class LowestOf:
    """The lowest of several scorers' numbers, one scorer to a question; NaN where a question has no
    score. It reaches a threshold where each of them does.

    Raises `ConfigError` without a question.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, questions: Mapping[str, Scorer]) -> None:
        require("questions", list(questions), "one or more, by name", len(questions) > 0)
        self._scorers = list(questions.values())

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N]."""
        scores_Q_N = np.stack([each.score(instructions, completions) for each in self._scorers])
        return np.asarray(scores_Q_N.min(axis=0))
