from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import pytest

from farm.errors import DataError
from farm.evaluation.best_of_n import (
    best_of_n,
    best_of_n_curve,
    doublings,
    kl_estimate,
    kl_estimate_from_logprobs,
    kl_upper_bound,
    selection_weights,
)
from farm.protocols import FloatArray
from farm.seeds import generator

SKEWED = np.array([0.5, 0.3, 0.15, 0.05])
"""Probabilities of a start with four answers; the proxy of answer k is k."""
GOLD = np.array([0.0, 1.0, 3.0, -2.0])


def by_subsets(proxy: FloatArray, values: FloatArray, n: int) -> float:
    """The mean over all subsets of n of the value chosen, of tied ones the mean."""
    chosen = []
    for subset in combinations(range(len(proxy)), n):
        best = [i for i in subset if proxy[i] == max(proxy[j] for j in subset)]
        chosen.append(np.mean([values[i] for i in best]))
    return float(np.mean(chosen))


def by_enumeration(p: FloatArray, n: int) -> FloatArray:
    """The law of the highest of n draws from p, by listing all draws."""
    law = np.zeros(len(p))
    for draws in product(range(len(p)), repeat=n):
        law[max(draws)] += np.prod(p[list(draws)])
    return law


def draws(p: FloatArray, shape: tuple[int, int], name: str) -> FloatArray:
    return generator(0, "best of n", name).choice(len(p), size=shape, p=p).astype(float)


def test_the_estimate_is_the_mean_over_all_subsets_also_with_ties() -> None:
    rng = generator(0, "subsets")
    proxy = rng.integers(4, size=(5, 8)).astype(float)
    values = rng.normal(size=(5, 8))
    expected = [[by_subsets(proxy[i], values[i], n) for i in range(5)] for n in range(1, 9)]
    np.testing.assert_allclose(best_of_n(proxy, values), expected)


def test_weights_are_hypergeometric_and_stable_at_a_thousand_samples() -> None:
    weights = selection_weights(1024)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-9)
    assert weights[-1, -1] == 1
    np.testing.assert_allclose(weights[0], 1 / 1024)
    np.testing.assert_allclose(weights[:, -1], np.arange(1, 1025) / 1024)


def test_the_estimate_is_unbiased_for_the_law_of_best_of_n() -> None:
    answers = draws(SKEWED, (40_000, 6), "unbiased")
    estimated = best_of_n(answers, GOLD[answers.astype(int)])
    for n in range(1, 7):
        error = estimated[n - 1].std() / np.sqrt(40_000)
        truth = by_enumeration(SKEWED, n) @ GOLD
        assert abs(estimated[n - 1].mean() - truth) < 4 * error


def test_it_agrees_with_choosing_again_and_again_and_is_steadier() -> None:
    rng = generator(0, "again")
    proxy, n = rng.normal(size=(400, 64)), 8
    gold = proxy + rng.normal(size=(400, 64))
    rows = np.arange(400)
    once = proxy[:, :n].argmax(axis=1)
    chosen = [s[rows, proxy[rows[:, None], s].argmax(axis=1)] for s in subsets(400, 64, n)]
    resampled = np.mean([gold[rows, index] for index in chosen], axis=0)
    estimated = best_of_n(proxy, gold)[n - 1]
    assert estimated.mean() == pytest.approx(resampled.mean(), abs=0.02)
    assert estimated.std() < 0.6 * gold[rows, once].std()


def subsets(rows: int, size: int, n: int) -> list[np.ndarray]:
    rng = generator(0, "drawn subsets")
    return [rng.random((rows, size)).argsort(axis=1)[:, :n] for _ in range(300)]


def test_values_that_are_missing_take_their_weight_with_them() -> None:
    proxy = np.array([[1.0, 2.0, 3.0]])
    values = np.array([[10.0, 20.0, np.nan]])
    # n = 2: of the three pairs, one has 2 as its best, and two have 3, which has no value.
    np.testing.assert_allclose(best_of_n(proxy, values)[:, 0], [15, 20, np.nan])
    curve = best_of_n_curve(proxy, {"gold": values}, seed=0)
    np.testing.assert_allclose(curve["gold_known"], [200 / 3, 100 / 3, 0])
    assert doublings(curve)["n"].tolist() == [1, 2]
    with pytest.raises(DataError, match="1 of 3 are missing"):
        best_of_n(values, proxy)


def test_the_interval_of_the_curve_covers_the_truth() -> None:
    truth = np.array([by_enumeration(SKEWED, n) @ GOLD for n in range(1, 7)])
    covered = []
    for world in range(200):
        answers = draws(SKEWED, (150, 6), f"coverage {world}")
        curve = best_of_n_curve(answers, {"gold": GOLD[answers.astype(int)]}, seed=world)
        covered.append((curve["gold_low"] <= truth) & (truth <= curve["gold_high"]))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_the_bound_is_the_kl_of_continuous_answers() -> None:
    # Density of the highest of n uniforms is n u^(n-1).
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (2, 5, 16):
        density = n * u ** (n - 1)
        assert kl_upper_bound(np.array(n)) == pytest.approx(np.mean(density * np.log(density)))
    continuous = generator(0, "continuous").normal(size=(3, 64))
    estimated = kl_estimate(continuous)
    bound = kl_upper_bound(np.arange(1, 65))[:, None]
    assert (estimated <= bound + 1e-12).all()
    assert (bound - estimated).max() < 0.05
    rare = kl_estimate_from_logprobs(continuous, np.full((3, 64), -200.0))
    np.testing.assert_allclose(rare, np.broadcast_to(bound, rare.shape), atol=1e-9)


@pytest.mark.parametrize(
    ("estimator", "tolerance"),
    [
        (lambda answers: kl_estimate(answers), 0.03),
        (
            lambda answers: kl_estimate_from_logprobs(answers, np.log(SKEWED[answers.astype(int)])),
            0.06,
        ),
    ],
    ids=["from repeats", "from log-probabilities"],
)
def test_kl_of_repeating_answers(
    estimator: Callable[[FloatArray], FloatArray], tolerance: float
) -> None:
    estimated = estimator(draws(SKEWED, (2000, 64), "kl")).mean(axis=1)
    for n in (1, 2, 4, 6):
        law = by_enumeration(SKEWED, n)
        truth = float(law @ np.log(law / SKEWED))
        assert estimated[n - 1] == pytest.approx(truth, abs=tolerance)
    assert kl_upper_bound(np.array(6)) - estimated[5] > 0.02, "the bound is loose here"


def test_a_start_that_always_says_the_same_cannot_move() -> None:
    same = np.ones((2, 8))
    np.testing.assert_allclose(kl_estimate(same), 0, atol=1e-12)
    np.testing.assert_allclose(kl_estimate_from_logprobs(same, np.zeros((2, 8))), 0, atol=1e-12)
