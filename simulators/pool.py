"""A pool of annotators: each pair goes to one of them, as in AlpacaFarm (arXiv 2305.14387)."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from farm.errors import ConfigError
from farm.protocols import Annotator, ExactAnnotator, FloatArray
from farm.seeds import derive, redraw
from farm.types import Judgment, Pair
from simulators.chat.loop import side_by_side


class Pool:
    """One seeded member judges each pair; disagreement between members is variability between
    people. Raises ConfigError for an empty pool.

    It has an `expectation`, the members' mean, where all of them are programs.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotators: Sequence[Annotator]) -> None:
        if not annotators:
            raise ConfigError("annotators: a pool needs at least one member.")
        self._annotators = list(annotators)
        exact = [member for member in annotators if isinstance(member, ExactAnnotator)]
        if len(exact) == len(annotators):
            self.expectation = partial(_mean_expectation, exact)

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The verdict of each pair's member."""
        members: dict[int, list[int]] = {}
        for index, pair in enumerate(pairs):
            member = derive(redraw(seed, draw), "pool", pair.id) % len(self._annotators)
            members.setdefault(member, []).append(index)

        def ask(member: int) -> list[Judgment]:
            asked = [pairs[row] for row in members[member]]
            return self._annotators[member].annotate(asked, seed=seed, draw=draw)

        judgments: dict[int, Judgment] = {}
        for member, verdicts in zip(members, side_by_side(ask, list(members)), strict=True):
            judgments.update(zip(members[member], verdicts, strict=True))
        return [judgments[index] for index in range(len(pairs))]


def _mean_expectation(members: Sequence[ExactAnnotator], pairs: Sequence[Pair]) -> FloatArray:
    """P(output_b is better) of a random member of those that can judge; NaN where none can."""
    expected_M_N = np.array([member.expectation(pairs) for member in members])
    judging_N = (~np.isnan(expected_M_N)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: FloatArray = np.nansum(expected_M_N, axis=0) / judging_N
    return mean
