"""Gaps whose depth, recovery and area can be drawn on paper."""

import math

import numpy as np
import pytest

from farm.errors import DataError
from farm.evaluation.stability_gap import relative_updates, stability_gap


def test_a_fall_and_a_rise() -> None:
    """80 -> 50 at step 10 -> 80 at step 30 -> 90: a triangle of width 30 and height 30."""
    gap = stability_gap([0, 10, 30, 40], [80, 50, 80, 90])
    assert (gap.start, gap.end, gap.best) == (80, 90, 90)
    assert (gap.depth, gap.bottom, gap.recovery) == (-30, 10, 30)
    assert gap.area == pytest.approx(30 * 30 / 2)


def test_it_comes_back_between_two_measurements() -> None:
    """From 30 below at step 10 to 10 above at step 50: back after three quarters of the way."""
    gap = stability_gap([0, 10, 50], [80, 50, 90])
    assert gap.recovery == pytest.approx(40)
    assert gap.area == pytest.approx(30 * 10 / 2 + 30 * 30 / 2)


def test_it_never_comes_back() -> None:
    gap = stability_gap([0, 10, 20], [80, 60, 70])
    assert math.isnan(gap.recovery)
    assert gap.area == pytest.approx(20 * 10 / 2 + (20 + 10) / 2 * 10)


def test_it_counts_from_the_lowest_point() -> None:
    """Back once and lower after that: not back."""
    gap = stability_gap([0, 10, 20, 30], [80, 70, 80, 60])
    assert (gap.depth, gap.bottom) == (-20, 30)
    assert math.isnan(gap.recovery)


@pytest.mark.parametrize("scores", [[50, 50, 60], [50, 55, 50]])
def test_without_a_gap(scores: list[float]) -> None:
    gap = stability_gap([0, 5, 9], scores)
    assert (gap.depth, gap.bottom, gap.recovery, gap.area) == (0, 0, 0, 0)


def test_the_area_is_that_of_a_fine_sum() -> None:
    steps = np.array([0.0, 3.0, 4.0, 9.0, 20.0])
    scores = np.array([10.0, 12.0, 4.0, 11.0, 7.0])
    fine = np.linspace(0, 20, 2_000_001)
    below = np.maximum(10 - np.interp(fine, steps, scores), 0)
    assert stability_gap(steps, scores).area == pytest.approx(below.mean() * 20, rel=1e-5)


@pytest.mark.parametrize(
    ("steps", "scores"), [([0], [1]), ([1, 2], [1, 1]), ([0, 2, 2], [1, 1, 1]), ([0, 1], [1])]
)
def test_steps_that_show_no_gap_are_named(steps: list[float], scores: list[float]) -> None:
    with pytest.raises(DataError, match="ascending steps from 0"):
        stability_gap(steps, scores)


def test_updates_are_relative_and_block_by_block() -> None:
    start = {
        "model.layers.0.up.weight": np.array([3.0, 4.0]),
        "model.layers.0.down.weight": np.array([[1.0]]),
        "model.layers.1.up.weight": np.array([2.0]),
        "model.layers.1.up.bias": np.zeros(1),  # no part of 0 can be said
        "lm_head.weight": np.array([1.0]),
    }
    moved = {
        **start,
        "model.layers.0.up.weight": np.array([3.0, 5.0]),  # 1 of 5
        "model.layers.0.down.weight": np.array([[1.4]]),
        "model.layers.1.up.weight": np.array([1.0]),
        "model.layers.1.up.bias": np.ones(1),
        "lm_head.weight": np.array([9.0]),
    }
    assert relative_updates(moved, start) == pytest.approx([(0.2 + 0.4) / 2, 0.5])
    with pytest.raises(DataError, match="block"):
        relative_updates({"lm_head.weight": np.ones(1)}, {"lm_head.weight": np.ones(1)})
