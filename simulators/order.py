"""Order randomisation: which answer the judge sees first is a seeded coin (AlpacaFarm)."""

from collections.abc import Sequence
from typing import ClassVar

from farm.data.records import is_canonical, turn_judgment, turn_pair
from farm.protocols import Annotator, ExactAnnotator
from farm.seeds import redraw, uniform
from farm.types import Judgment, Pair


class RandomOrder:
    """Shows each pair in a random order and turns the verdict back, so that a judge's liking for
    the first answer averages out. The coin depends on the pair, not on how it was handed in.

    Its `expectation` is the annotator's own, where that is a program.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotator: Annotator) -> None:
        self._annotator = annotator
        if isinstance(annotator, ExactAnnotator):  # it averages over both orders already
            self.expectation = annotator.expectation

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Verdicts in the pairs' own orientation; `order` says what the judge saw."""
        coin = redraw(seed, draw)
        turned = [(uniform(coin, "order", pair.id) < 0.5) == is_canonical(pair) for pair in pairs]
        shown = [turn_pair(p) if turn else p for p, turn in zip(pairs, turned, strict=True)]
        judgments = self._annotator.annotate(shown, seed=seed, draw=draw)
        return [
            turn_judgment(judgment) if turn else judgment
            for judgment, turn in zip(judgments, turned, strict=True)
        ]
