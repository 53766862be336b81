"""Ways to merge: what `method.merge` names. Each applies a formula of `methods.merging.formulas`
to one tensor of all policies at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from farm.checks import require, require_at_least
from methods.merging.schedules import Place, Schedule

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Way(Protocol):
    """One way to merge."""

    def check(self, policies: int) -> None:
        """Raise ConfigError where it cannot merge so many."""
        ...

    def merge(self, tensors: "Sequence[Tensor]", place: Place) -> "Tensor":
        """One tensor out of those of all policies, in their order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A weighted mean."""

    stage_version: ClassVar[int] = 1

    weights: Sequence[float]
    """Of the policies, in their order; they sum to 1."""

    def __post_init__(self) -> None:
        weights = list(self.weights)
        require("weights", weights, "numbers that sum to 1", math.isclose(math.fsum(weights), 1))

    def check(self, policies: int) -> None:
        """One weight for each policy."""
        require("weights", list(self.weights), f"{policies} numbers, one for each of `policies`",
                len(self.weights) == policies)  # fmt: skip

    def merge(self, tensors: "Sequence[Tensor]", place: Place) -> "Tensor":
        """See `formulas.linear`."""
        from methods.merging.formulas import linear

        return linear(tensors, self.weights)


@dataclass(frozen=True, kw_only=True)
class Slerp:
    """Spherical interpolation from the first policy to the second. Tensors of one dimension, such
    as those of norm layers, are interpolated linearly."""

    stage_version: ClassVar[int] = 1

    t: Schedule

    def check(self, policies: int) -> None:
        """Two policies."""
        require("policies", policies, "two, for SLERP goes from one to another", policies == 2)

    def merge(self, tensors: "Sequence[Tensor]", place: Place) -> "Tensor":
        """Between the two, as the schedule says."""
        from methods.merging.formulas import linear

        (left, right), t = tensors, self.t.at(place)
        if left.dim() < 2:
            return linear([left, right], [1 - t, t])
        return self.interpolated(left, right, t)

    def interpolated(self, left: "Tensor", right: "Tensor", t: float) -> "Tensor":
        """Of the tensors as they are; see `formulas.slerp`."""
        from methods.merging.formulas import slerp

        return slerp(left, right, t)


@dataclass(frozen=True, kw_only=True)
class NormalisedSlerp(Slerp):
    """The same of the directions, with norms interpolated geometrically."""

    def interpolated(self, left: "Tensor", right: "Tensor", t: float) -> "Tensor":
        """See `formulas.normalised_slerp`."""
        from methods.merging.formulas import normalised_slerp

        return normalised_slerp(left, right, t)


@dataclass(frozen=True, kw_only=True)
class TaskArithmetic:
    """The first policy is the base; what the others learned from there is added up."""

    stage_version: ClassVar[int] = 1

    scale: float
    """λ, of the sum."""

    def __post_init__(self) -> None:
        require_at_least("scale", self.scale, 0)

    def check(self, policies: int) -> None:
        """A base and one or more others."""
        require("policies", policies, "two or more, the first of them the base", policies >= 2)

    def merge(self, tensors: "Sequence[Tensor]", place: Place) -> "Tensor":
        """See `formulas.task_arithmetic`."""
        from methods.merging.formulas import task_arithmetic

        return task_arithmetic(tensors[0], tensors[1:], self.scale)


@dataclass(frozen=True, kw_only=True)
class Ties(TaskArithmetic):
    """The first policy is the base; of what the others learned, the largest changes whose signs
    agree are averaged. Trims each tensor by itself, as mergekit does; the authors trim a model's
    task vector as a whole."""

    density: float
    """Share of a task vector's entries that is kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("density", self.density, "above 0, at most 1", 0 < self.density <= 1)

    def merge(self, tensors: "Sequence[Tensor]", place: Place) -> "Tensor":
        """See `formulas.ties`."""
        from methods.merging.formulas import ties

        return ties(tensors[0], tensors[1:], self.density, self.scale)
