"""A pool of annotators: each pair goes to one of them, as in AlpacaFarm (arXiv 2305.14387)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from farm.errors import ConfigError
from farm.protocols import Annotator, ExactAnnotator, FloatArray
from farm.seeds import derive
from farm.types import Judgment, Pair


class Pool:
    """One seeded member judges each pair; disagreement between members is variability between
    people. Raises ConfigError for an empty pool."""

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotators: Sequence[Annotator]) -> None:
        if not annotators:
            raise ConfigError("annotators: a pool needs at least one member.")
        self._annotators = list(annotators)

    def annotate(self, pairs: Sequence[Pair], *, seed: int) -> list[Judgment]:
        """The verdict of each pair's member."""
        members: dict[int, list[int]] = {}
        for index, pair in enumerate(pairs):
            member = derive(seed, "pool", pair.id) % len(self._annotators)
            members.setdefault(member, []).append(index)
        judgments: dict[int, Judgment] = {}
        for member, rows in members.items():
            verdicts = self._annotators[member].annotate([pairs[i] for i in rows], seed=seed)
            judgments.update(zip(rows, verdicts, strict=True))
        return [judgments[index] for index in range(len(pairs))]

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """The members' mean. Raises TypeError when a member is no program."""
        rows = []
        for annotator in self._annotators:
            if not isinstance(annotator, ExactAnnotator):
                raise TypeError(f"{type(annotator).__name__} has no exact expectation.")
            rows.append(annotator.expectation(pairs))
        mean: FloatArray = np.mean(rows, axis=0)
        return mean
