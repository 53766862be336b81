"""Human-anchored win rates: a biased judge, corrected; closed forms at the ends."""

from typing import NamedTuple

import numpy as np
import pytest

from farm.errors import DataError
from farm.evaluation.human_anchored import HumanAnchored, human_anchored_win_rate
from farm.protocols import FloatArray
from farm.seeds import generator

NAN = float("nan")


class World(NamedTuple):
    """People say b with a chance that the judge knows but for bias and noise."""

    preference: FloatArray
    label: FloatArray


def world(number: int, *, labelled: int, bias: float, rows: int = 600) -> World:
    rng = generator(number, "people")
    chance = rng.beta(1.2, 1, rows)
    judge = np.clip(chance + bias + rng.normal(0, 0.1, rows), 0, 1)
    labels = np.full(rows, NAN)
    some = rng.choice(rows, labelled, replace=False)
    labels[some] = rng.random(labelled) < chance[some]
    return World(judge, labels)


TRUTH = 100 * 1.2 / 2.2


def test_the_interval_covers_the_truth_in_spite_of_the_bias() -> None:
    found = [human_anchored_win_rate(*world(n, labelled=60, bias=0.15)) for n in range(500)]
    covered = [rate.low <= TRUTH <= rate.high for rate in found]
    assert np.mean(covered) == pytest.approx(0.945, abs=0.03)  # three standard errors
    assert np.mean([rate.judge_alone for rate in found]) > TRUTH + 8
    errors = np.array([(rate.value - TRUTH, rate.labels_alone - TRUTH) for rate in found])
    anchored, alone = np.sqrt((errors**2).mean(axis=0))
    assert anchored < 0.93 * alone
    effective = np.median([rate.effective_labels for rate in found])
    assert effective == pytest.approx(60 * (alone / anchored) ** 2, rel=0.15)


def test_a_judge_who_knows_nothing_costs_nothing() -> None:
    rng = generator(0, "noise")
    found: list[HumanAnchored] = []
    for number in range(100):
        labels = world(number, labelled=200, bias=0.0).label
        found.append(human_anchored_win_rate(rng.random(600), labels))
    assert np.mean([rate.judge_weight for rate in found]) < 0.1
    assert all(rate.standard_error <= 1.01 * rate.labels_alone_standard_error for rate in found)


def test_a_judge_who_says_the_opposite_is_not_trusted() -> None:
    preference, label = world(0, labelled=100, bias=0.0)
    found = human_anchored_win_rate(1 - preference, label)
    assert found.judge_weight == 0
    assert found.value == pytest.approx(found.labels_alone)


def test_a_judge_who_is_always_right_is_as_good_as_labels_everywhere() -> None:
    people = (generator(0, "right").random(400) < 0.6).astype(float)
    label = np.where(np.arange(400) < 100, people, NAN)
    found = human_anchored_win_rate(people, label)
    assert found.value == pytest.approx(100 * people.mean(), abs=1)
    assert found.effective_labels == pytest.approx(400, rel=0.05)
    assert (found.bias, found.n, found.n_labels) == (0, 400, 100)


def test_labels_everywhere_are_the_plain_win_rate() -> None:
    preference, label = world(0, labelled=600, bias=0.2)
    found = human_anchored_win_rate(preference, label)
    assert found.value == pytest.approx(100 * label.mean())
    assert found.standard_error == pytest.approx(found.labels_alone_standard_error)


def test_labels_that_all_agree_do_not_make_certain() -> None:
    label = np.array([1.0] * 10 + [NAN] * 40)
    found = human_anchored_win_rate(generator(0, "agree").random(50), label)
    assert (found.value, found.high) == (100, 100)
    assert found.low == pytest.approx(69.2, abs=0.1)  # Clopper-Pearson, 10 of 10


def test_what_cannot_be_anchored_is_said() -> None:
    preference = np.array([0.2, NAN, 0.9, 0.4])
    with pytest.raises(DataError, match=r"two labels or more .* are 1"):
        human_anchored_win_rate(preference, np.array([1.0, 1.0, NAN, NAN]))
    with pytest.raises(DataError, match="4 preferences and 3 labels"):
        human_anchored_win_rate(preference, np.ones(3))
    with pytest.raises(DataError, match="preference - 1"):
        human_anchored_win_rate(preference, np.array([1.0, 2.0, NAN, NAN]))
