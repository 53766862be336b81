"""Choices within I-SHEEP: which candidates are learned from, and what learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from farm.protocols import FloatArray
from farm.seeds import generator
from farm.types import Instruction, PolicyRef

Rows = Sequence[Instruction]


@runtime_checkable
class Selection(Protocol):
    """Which candidates of a round are kept."""

    def kept(self, scores_N: FloatArray, *, seed: int) -> NDArray[np.bool_]:
        """Whether each is, [N]; a score is NaN where the assessment gave none."""
        ...


@dataclass(frozen=True, kw_only=True)
class AtLeast:
    """Those whose score is `threshold` or more. A score that is the lowest of several questions'
    reaches it where each of them does."""

    stage_version: ClassVar[int] = 1

    threshold: float = 8.0

    def kept(self, scores_N: FloatArray, *, seed: int) -> NDArray[np.bool_]:
        """Whether each is, [N]; never one without a score."""
        return np.nan_to_num(scores_N, nan=-np.inf) >= self.threshold


@dataclass(frozen=True, kw_only=True)
class RandomOfEqualSize:
    """A control: as many as reach `threshold`, whichever."""

    stage_version: ClassVar[int] = 1

    threshold: float = 8.0

    def kept(self, scores_N: FloatArray, *, seed: int) -> NDArray[np.bool_]:
        """Whether each is, [N]."""
        count = int(AtLeast(threshold=self.threshold).kept(scores_N, seed=seed).sum())
        chosen = generator(seed, "random selection").permutation(len(scores_N))[:count]
        return np.isin(np.arange(len(scores_N)), chosen)


class Lesson(NamedTuple):
    """What a round trains."""

    start: PolicyRef
    rows: Rows


@runtime_checkable
class Training(Protocol):
    """What a round begins from and learns."""

    def lesson(self, base: PolicyRef, latest: PolicyRef, kept: Sequence[Rows]) -> Lesson:
        """`latest` is the policy of the round before (in the first, the base); `kept` are the rows
        of every round so far."""
        ...


class FromBase:
    """The base learns the newest rows alone, as in the paper."""

    stage_version: ClassVar[int] = 1

    def lesson(self, base: PolicyRef, latest: PolicyRef, kept: Sequence[Rows]) -> Lesson:
        """From the base."""
        return Lesson(base, kept[-1])


class Continued:
    """The newest policy goes on with the newest rows."""

    stage_version: ClassVar[int] = 1

    def lesson(self, base: PolicyRef, latest: PolicyRef, kept: Sequence[Rows]) -> Lesson:
        """From the policy of the round before."""
        return Lesson(latest, kept[-1])


class Cumulative:
    """The base learns the rows of all rounds."""

    stage_version: ClassVar[int] = 1

    def lesson(self, base: PolicyRef, latest: PolicyRef, kept: Sequence[Rows]) -> Lesson:
        """From the base."""
        return Lesson(base, list(chain.from_iterable(kept)))
