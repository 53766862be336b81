"""A control for whatever learns from strengths: strengths that say nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from farm.protocols import Annotator, ExactAnnotator
from farm.seeds import derive, redraw
from farm.types import Judgment, Pair


class ShuffledStrengths:
    """Who is preferred stays, how much is shuffled: each label with a strength other than 0 gets
    the size of another's, and keeps its own side. Preferences, ratings and votes stay as they are.

    Sizes are permuted among the labels of one call, so that their distribution, and with it a
    label's mean weight, is exactly what it was. What a label gets hence depends on which pairs come
    with it, though not on their order: a stage that labels in chunks shuffles within each.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotator: Annotator) -> None:
        self._annotator = annotator
        if isinstance(annotator, ExactAnnotator):  # sides stay
            self.expectation = annotator.expectation

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The annotator's judgments with other strengths."""
        judgments = list(self._annotator.annotate(pairs, seed=seed, draw=draw))
        graded = [row for row, judgment in enumerate(judgments) if judgment.strength]
        graded.sort(key=lambda row: judgments[row].pair_id)
        shuffled = sorted(
            graded,
            key=lambda row: derive(redraw(seed, draw), "strengths", judgments[row].pair_id),
        )
        sizes = [abs(judgments[row].strength or 0.0) for row in shuffled]
        for row, size in zip(graded, sizes, strict=True):
            own = judgments[row].strength or 0.0
            judgments[row] = replace(judgments[row], strength=size if own > 0 else -size)
        return judgments
