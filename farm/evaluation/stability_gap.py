"""The stability gap: a skill that falls when learning goes on in a new domain, and what comes of it
(Guo et al. 2024, arXiv 2406.14833, section 3).

Skills are scores at training steps, the first of them at step 0, between which they are taken to
run straight.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from farm.errors import DataError
from farm.protocols import FloatArray

_BLOCK = re.compile(r"\.(\d+)\.")
"""Of a transformer, in a weight's name: `model.layers.3.mlp.up_proj.weight`."""


class Gap(NamedTuple):
    """Of one skill in one training; scores in their own unit."""

    start: float
    """Score at step 0."""
    end: float
    """Score at the last step."""
    best: float
    """The highest score after step 0."""
    depth: float
    """Lowest score less the one at step 0; 0 where it never falls below."""
    bottom: float
    """Step of the lowest score; 0 where it never falls below the first."""
    recovery: float
    """The step, counted from 0, at which it has come back from its lowest to the score at step 0;
    0 where it never falls below, NaN where it does not come back."""
    area: float
    """Between the score at step 0 and all that is below it: score times steps."""


def stability_gap(steps: Sequence[float], scores: Sequence[float]) -> Gap:
    """The gap in scores at ascending steps. Raises `DataError` for other steps, and with fewer than
    two of them."""
    at, found = np.asarray(steps, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if len(at) < 2 or at[0] != 0 or not (np.diff(at) > 0).all() or len(at) != len(found):
        raise DataError(
            f"a gap is seen in scores at ascending steps from 0, two or more, not at {list(steps)}."
        )
    below = found - found[0]
    lowest = int(below.argmin())
    return Gap(
        start=float(found[0]),
        end=float(found[-1]),
        best=float(found[1:].max()),
        depth=float(below[lowest]),
        bottom=float(at[lowest]),
        recovery=_return(at[lowest:], below[lowest:]),
        area=_area_below(at, below),
    )


def _return(steps: FloatArray, below: FloatArray) -> float:
    """Where scores that begin at their lowest reach 0."""
    back = np.flatnonzero(below >= 0)
    if not len(back):
        return float("nan")
    after = int(back[0])
    if after == 0:
        return float(steps[0])
    rise = below[after] - below[after - 1]
    return float(steps[after] - below[after] / rise * (steps[after] - steps[after - 1]))


def _area_below(steps: FloatArray, below: FloatArray) -> float:
    """The integral of what is below 0, along straight lines."""
    left, right = below[:-1], below[1:]
    crosses = left * right < 0
    # A triangle up to the crossing, otherwise a trapezium of the parts below 0.
    slope = np.where(crosses, np.abs(right - left), 1.0)
    triangle = np.minimum(np.minimum(left, right), 0) ** 2 / (2 * slope)
    trapezium = -(np.minimum(left, 0) + np.minimum(right, 0)) / 2
    return float((np.where(crosses, triangle, trapezium) * np.diff(steps)).sum())


def relative_updates(
    weights: Mapping[str, FloatArray], start: Mapping[str, FloatArray]
) -> FloatArray:
    """How far each of a transformer's blocks has moved, the first one first: |w - w_0| / |w_0| of a
    weight matrix or vector (Euclidean norms), averaged over those of the block. Weights that
    belong to no block, and those that were 0, are left out. Raises `DataError` where none is
    left."""
    of_blocks: dict[int, list[float]] = {}
    for name, before in start.items():
        block = _BLOCK.search(name)
        size = np.linalg.norm(before)
        if block is not None and size > 0:
            moved = np.linalg.norm(weights[name] - before) / size
            of_blocks.setdefault(int(block[1]), []).append(float(moved))
    if not of_blocks:
        raise DataError("none of the weights belongs to a numbered block.")
    return np.array([np.mean(of_blocks[block]) for block in sorted(of_blocks)])
