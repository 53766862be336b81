"""Intervals cover what they say, in simulation."""

import numpy as np
import pytest

from farm.evaluation.intervals import crossed_interval, mean_interval, paired_interval
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


def coverage(seed_sd: float, instruction_sd: float, noise_sd: float, seeds: int = 5) -> float:
    covered = []
    for world in range(150):
        rng = generator(world, "crossed", seeds)
        values = (
            1
            + rng.normal(0, seed_sd, (seeds, 1))
            + rng.normal(0, instruction_sd, (1, 60))
            + rng.normal(0, noise_sd, (seeds, 60))
        )
        found = crossed_interval(values, seed=world)
        covered.append(found.low <= 1 <= found.high)
    return float(np.mean(covered))


@pytest.mark.parametrize(
    ("seed_sd", "instruction_sd", "noise_sd"), [(0.3, 0.3, 0.3), (0.0, 1.0, 0.5), (0.3, 0.0, 1.0)]
)
def test_crossed_interval_covers_95_percent_with_five_seeds(
    seed_sd: float, instruction_sd: float, noise_sd: float
) -> None:
    # Three standard errors of 150 trials are 5 points; too wide is allowed, too narrow is not.
    assert coverage(seed_sd, instruction_sd, noise_sd) >= 0.90


def test_crossed_interval_of_one_seed_covers_instructions_alone() -> None:
    values = generator(0, "one").normal(size=80)
    one = crossed_interval(values[None], seed=0)
    assert one == pytest.approx(mean_interval(values, seed=0))


def test_crossed_interval_weighs_seeds_the_same_and_takes_what_is_known() -> None:
    values = np.array([[1.0, 1.0, NAN, NAN], [NAN, NAN, 3.0, NAN], [NAN] * 4])
    assert crossed_interval(values, seed=0).estimate == 2
    assert np.isnan(crossed_interval(np.full((2, 3), NAN), seed=0).estimate)
