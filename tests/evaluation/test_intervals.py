"""Intervals cover what they say, in simulation."""

import numpy as np
import pytest

from farm.evaluation.intervals import (
    crossed_interval,
    crossed_paired_interval,
    crossed_replicates,
    mean_interval,
    paired_interval,
)
from farm.protocols import FloatArray
from farm.seeds import generator

NAN = float("nan")


def test_paired_interval_is_narrow_where_instructions_vary_and_gains_do_not() -> None:
    rng = generator(0, "paired")
    difficulty = rng.normal(0, 10, 200)
    before, after = difficulty, difficulty + 1 + rng.normal(0, 0.1, 200)
    after[0] = NAN
    found = paired_interval(before, after, seed=0)
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.05
    assert mean_interval(after, seed=0).high - mean_interval(after, seed=0).low > 1


def test_equal_policies_are_told_apart_in_five_percent() -> None:
    # A/A: hard verdicts on one policy twice, on the same 200 instructions of mixed difficulty.
    rng = generator(0, "A/A")
    chance_W_N = rng.random((3000, 200))
    before, after = (rng.random(chance_W_N.shape) < chance_W_N for _ in range(2))
    difference_W_N = after.astype(float) - before
    found = crossed_replicates(difference_W_N[:, None], seed=0)
    low, high = np.percentile(found.replicates_R_M, [2.5, 97.5], axis=0)
    assert 0.04 <= np.mean((low > 0) | (high < 0)) <= 0.06
    one = paired_interval(
        before[0].astype(float), after[0].astype(float), seed=0
    )  # the same, one world at a time
    assert one == pytest.approx((difference_W_N[0].mean(), low[0], high[0]))


def crossed(
    world: int, spreads: tuple[float, float, float], seeds: int = 5, instructions: int = 60
) -> FloatArray:
    """mean 0 + seed + instruction + residual, with their standard deviations."""
    rng = generator(world, "crossed", seeds)
    of_seed, of_instruction, residual = spreads
    values: FloatArray = (
        rng.normal(0, of_seed, (seeds, 1))
        + rng.normal(0, of_instruction, (1, instructions))
        + rng.normal(0, residual, (seeds, instructions))
    )
    return values


@pytest.mark.parametrize(
    "spreads",
    [(0.3, 0.3, 0.3), (0.0, 1.0, 0.5), (0.3, 0.0, 1.0), (0.0, 0.0, 1.0), (0.05, 0.05, 0.5)],
)
def test_crossed_interval_covers_95_percent_with_five_seeds(
    spreads: tuple[float, float, float],
) -> None:
    # Together, as one more axis: 600 worlds, whose three standard errors are 2.7 points.
    values = np.stack([crossed(world, spreads) for world in range(600)])
    found = crossed_replicates(values, seed=0)
    low, high = np.percentile(found.replicates_R_M, [2.5, 97.5], axis=0)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.027)


def test_crossed_differences_pair_seeds_and_instructions() -> None:
    shared = crossed(0, (3.0, 3.0, 0.0))
    before, after = shared + crossed(1, (0, 0, 0.1)), shared + 1 + crossed(2, (0, 0, 0.1))
    before[0, 0] = NAN
    found = crossed_paired_interval(before, after, seed=0)
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.1


def test_crossed_interval_of_one_seed_covers_instructions_alone() -> None:
    values = generator(0, "one").normal(size=80)
    one = crossed_interval(values[None], seed=0)
    assert one == pytest.approx(mean_interval(values, seed=0))


def test_crossed_interval_weighs_seeds_the_same_and_takes_what_is_known() -> None:
    values = np.array([[1.0, 1.0, NAN, NAN], [NAN, NAN, 3.0, NAN], [NAN] * 4])
    assert crossed_interval(values, seed=0).estimate == 2
    assert np.isnan(crossed_interval(np.full((2, 3), NAN), seed=0).estimate)
