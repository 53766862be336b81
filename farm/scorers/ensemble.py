"""Scores of several scorers in one (Coste et al. 2023, arXiv 2310.02743)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from farm.checks import require, require_at_least
from farm.protocols import FloatArray, Scorer
from farm.types import Instruction


@runtime_checkable
class Aggregate(Protocol):
    """What several scores of an answer come to; a dataclass, so that a config can name it."""

    def of(self, scores_M_N: FloatArray) -> FloatArray:
        """Scores [N] from those of M members; NaN where a member has none."""
        ...


@dataclass(frozen=True)
class Mean:
    """Their mean."""

    stage_version: ClassVar[int] = 1

    def of(self, scores_M_N: FloatArray) -> FloatArray:
        """Scores [N]."""
        return np.asarray(scores_M_N.mean(axis=0))


@dataclass(frozen=True)
class Worst:
    """The lowest (worst-case optimisation)."""

    stage_version: ClassVar[int] = 1

    def of(self, scores_M_N: FloatArray) -> FloatArray:
        """Scores [N]."""
        return np.asarray(scores_M_N.min(axis=0))


@dataclass(frozen=True)
class UncertaintyPenalised:
    """mean - coefficient * standard deviation over the members (divided by M). The paper's
    uncertainty-weighted optimisation subtracts the variance; the deviation is in the scores' own
    units, so that a coefficient means the same whatever their scale.

    Raises `ConfigError` for a coefficient below 0.
    """

    stage_version: ClassVar[int] = 1

    coefficient: float

    def __post_init__(self) -> None:
        require_at_least("coefficient", self.coefficient, 0)

    def of(self, scores_M_N: FloatArray) -> FloatArray:
        """Scores [N]."""
        return np.asarray(scores_M_N.mean(axis=0) - self.coefficient * scores_M_N.std(axis=0))


class EnsembleScorer:
    """A `Scorer` made of others. `offsets` are subtracted from the members' scores first: what
    learns from preferences gives scores that are known up to a constant.

    Raises `ConfigError` unless there are members and as many offsets.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self, members: Sequence[Scorer], aggregate: Aggregate, offsets: Sequence[float]
    ) -> None:
        require("members", list(members), "one scorer or more", len(members) > 0)
        right = f"{len(members)} numbers, one for each member"
        require("offsets", list(offsets), right, len(offsets) == len(members))
        self._members = list(members)
        self._aggregate = aggregate
        self._offsets_M = np.array(offsets, dtype=np.float64)

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N]."""
        scores_M_N = np.stack([each.score(instructions, completions) for each in self._members])
        return self._aggregate.of(scores_M_N - self._offsets_M[:, None])
