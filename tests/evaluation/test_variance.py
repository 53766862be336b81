"""Variance components against ANOVA by hand and against the variances that made the data."""

import numpy as np
import pytest

from farm.errors import DataError
from farm.evaluation.variance import planned_standard_error, student_mean, variance_components
from farm.protocols import FloatArray
from farm.seeds import generator

NAN = float("nan")


def drawn(world: int, shape: tuple[int, ...], spreads: tuple[float, ...]) -> FloatArray:
    """Effects of seed, instruction, cell and then of each further axis within the one before."""
    rng = generator(world, "components")
    values: FloatArray = np.zeros(shape)
    shapes = [(shape[0], 1), (1, shape[1])] + [shape[:n] for n in range(2, len(shape) + 1)]
    for spread, effect in zip(spreads, shapes, strict=True):
        values = values + rng.normal(0, spread, effect + (1,) * (len(shape) - len(effect)))
    return values


def test_without_gaps_it_is_the_anova_of_a_two_way_layout() -> None:
    values = drawn(0, (5, 30), (1.0, 2.0, 0.5))
    rows, columns, mean = values.mean(1), values.mean(0), values.mean()
    of_seeds = 30 * ((rows - mean) ** 2).sum() / 4
    of_instructions = 5 * ((columns - mean) ** 2).sum() / 29
    residual = ((values - rows[:, None] - columns + mean) ** 2).sum() / (4 * 29)
    found = variance_components(values)
    assert found.variances == pytest.approx(
        {
            "seed": (of_seeds - residual) / 30,
            "instruction": (of_instructions - residual) / 5,
            "residual": residual,
        }
    )
    assert found.levels == pytest.approx({"seed": 5, "instruction": 30, "residual": 150})
    assert sum(found.shares.values()) == pytest.approx(100)


def test_it_finds_the_variances_that_made_the_data_in_spite_of_gaps() -> None:
    spreads = (0.5, 1.0, 0.7, 0.6, 0.3)
    found = []
    for world in range(150):
        values = drawn(world, (6, 25, 3, 2), spreads)
        values[generator(world, "gaps").random(values.shape) < 0.2] = NAN
        found.append(variance_components(values, nested=("decoding", "judge")).variances)
    means = {name: np.mean([variances[name] for variances in found]) for name in found[0]}
    names = ("seed", "instruction", "residual", "decoding", "judge")
    truth = dict(zip(names, np.square(spreads), strict=True))
    assert list(means) == list(truth)
    assert means == pytest.approx(truth, rel=0.15)


def test_the_standard_error_is_that_of_new_seeds_and_instructions() -> None:
    shape, spreads = (5, 40, 2), (0.2, 0.5, 0.4, 0.6)
    worlds = [drawn(world, shape, spreads) for world in range(400)]
    components = [variance_components(values, nested=("judge",)) for values in worlds]
    squares = [found.standard_error**2 for found in components]
    assert np.sqrt(np.mean(squares)) == pytest.approx(
        np.std([values.mean() for values in worlds]), rel=0.1
    )
    planned = [planned_standard_error(found, 10, 160, {"judge": 4}) ** 2 for found in components]
    truth = 0.04 / 10 + 0.25 / 160 + 0.16 / 1600 + 0.36 / 6400
    assert np.mean(planned) == pytest.approx(truth, rel=0.1)
    same = planned_standard_error(components[0], 5, 40)
    assert same == pytest.approx(components[0].standard_error)


@pytest.mark.parametrize("spreads", [(0.3, 0.3, 0.3), (0.0, 0.0, 1.0), (0.0, 1.0, 0.5)])
def test_equal_means_are_rejected_in_at_most_five_percent(
    spreads: tuple[float, float, float],
) -> None:
    rejected = []
    for world in range(600):
        values = drawn(world, (5, 40), spreads)
        values[generator(world, "gaps").random(values.shape) < 0.1] = NAN
        rejected.append(student_mean(values).p_value < 0.05)
    assert 0.015 <= np.mean(rejected) <= 0.077  # three standard errors are 2.7 points


def test_one_seed_is_the_ordinary_t_test() -> None:
    from scipy.stats import ttest_1samp

    values = generator(0, "one").normal(0.3, 1, 50)
    assert student_mean(values[None]).p_value == pytest.approx(ttest_1samp(values, 0).pvalue)


def test_what_cannot_be_told_apart_is_said() -> None:
    with pytest.raises(DataError, match="1 seeds by 4 instructions"):
        variance_components(np.ones((1, 4)))
    apart = np.array([[1.0, 2.0, NAN, NAN], [NAN, NAN, 3.0, 4.0]])
    with pytest.raises(DataError, match="the same instructions"):
        variance_components(apart)
    with pytest.raises(DataError, match="judge"):
        variance_components(np.ones((2, 4, 1)), nested=("judge",))
    with pytest.raises(DataError, match="seed, instruction, judge"):
        variance_components(np.ones((2, 4)), nested=("judge",))
