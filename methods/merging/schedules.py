"""How far a merge goes from the first policy (t = 0) to the second (t = 1), tensor by tensor."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from farm.checks import require

_LAYER = re.compile(r"\.(\d+)\.")


class Place(NamedTuple):
    """Where in a model a tensor belongs."""

    name: str
    depth: float | None
    """0 in the first layer, 1 in the last; None outside the layers."""


def places(names: Sequence[str]) -> list[Place]:
    """Of all tensors of a model. A tensor's layer is the first number in its name."""
    found = [_LAYER.search(name) for name in names]
    last = max((int(layer[1]) for layer in found if layer), default=0)
    return [
        Place(name, int(layer[1]) / max(last, 1) if layer else None)
        for name, layer in zip(names, found, strict=True)
    ]


@runtime_checkable
class Schedule(Protocol):
    """Says t."""

    def at(self, place: Place) -> float:
        """In [0, 1]."""
        ...


def _require_shares(key: str, values: Sequence[float]) -> None:
    require(key, list(values), "numbers from 0 to 1, at least one",
            bool(values) and all(0 <= t <= 1 for t in values))  # fmt: skip


def _between(anchors: Sequence[float], depth: float) -> float:
    """Anchors at even distances from the first layer to the last, linear in between."""
    return float(np.interp(depth * (len(anchors) - 1), range(len(anchors)), anchors))


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The same t everywhere."""

    t: float = 0.5

    def __post_init__(self) -> None:
        _require_shares("t", [self.t])

    def at(self, place: Place) -> float:
        """t."""
        return self.t


@dataclass(frozen=True, kw_only=True)
class ByDepth:
    """The same for all tensors of a layer. Lu, Luu and Buehler (arXiv 2409.03444) found a line over
    depth, [0, 1], best of those that they tried."""

    anchors: Sequence[float] = (0.0, 1.0)
    """t at even distances from the first layer to the last; linear in between."""
    outside: float = 0.5
    """t of embeddings, the last norm and the output layer."""

    def __post_init__(self) -> None:
        _require_shares("anchors", self.anchors)
        _require_shares("outside", [self.outside])

    def at(self, place: Place) -> float:
        """The layer's t."""
        return self.outside if place.depth is None else _between(self.anchors, place.depth)


@dataclass(frozen=True, kw_only=True)
class ByPart:
    """Parts of a layer have anchors of their own. The defaults are mergekit's example, which the
    paper's repository uses: attention and feed-forward layers change sides along the way."""

    anchors: Mapping[str, Sequence[float]]
    """By what a tensor's name contains (`self_attn`, `mlp`): t as in `ByDepth`."""
    other: float = 0.5
    """t of all other tensors, in layers and outside."""

    def __post_init__(self) -> None:
        for part, anchors in self.anchors.items():
            _require_shares(f"anchors.{part}", anchors)
        _require_shares("other", [self.other])

    def at(self, place: Place) -> float:
        """That of the part which the tensor belongs to."""
        own = [anchors for part, anchors in self.anchors.items() if part in place.name]
        return _between(own[0], place.depth) if own and place.depth is not None else self.other
