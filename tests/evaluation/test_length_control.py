import numpy as np
import pytest
from scipy.optimize import minimize

from farm.evaluation.length_control import RIDGE, length_controlled_win_rate
from farm.protocols import FloatArray
from farm.seeds import generator


def judged(
    theta: float, phi: float, n: int = 4000, longer_by: float = 0.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Soft preferences of a judge who likes length by phi; (preferences, model, reference)."""
    rng = generator(0, "length", n)
    reference = rng.integers(20, 200, n).astype(float)
    model = reference + rng.normal(longer_by, 30, n).round()
    difference = model - reference
    logits = theta + phi * np.tanh(difference / difference.std(ddof=1))
    return 1 / (1 + np.exp(-logits)), model, reference


def test_recovers_what_the_judge_would_say_at_equal_lengths() -> None:
    preferences, model, reference = judged(theta=0.4, phi=1.7, longer_by=40)
    raw = 100 * preferences.mean()
    found = length_controlled_win_rate(preferences, model, reference)
    assert raw > 75
    assert found.win_rate == pytest.approx(100 / (1 + np.exp(-0.4)), abs=0.05)
    assert found.phi == pytest.approx(1.7, abs=0.01)
    assert found.variant == "minimal"


def test_swapping_the_sides_gives_the_complement() -> None:
    preferences, model, reference = judged(theta=0.4, phi=1.7, n=300, longer_by=10)
    hard = (preferences > 0.6).astype(float)
    one = length_controlled_win_rate(hard, model, reference)
    other = length_controlled_win_rate(1 - hard, reference, model)
    assert one.win_rate + other.win_rate == pytest.approx(100, abs=1e-9)
    assert length_controlled_win_rate(np.full(300, 0.5), model, model).win_rate == 50


def test_newton_finds_what_a_general_optimiser_finds() -> None:
    preferences, model, reference = judged(theta=-0.3, phi=0.8, n=200)
    difference = model - reference
    bounded = np.tanh(difference / difference.std(ddof=1))

    def loss(w: FloatArray) -> float:
        p = 1 / (1 + np.exp(-(w[0] + w[1] * bounded)))
        likelihood = preferences * np.log(p) + (1 - preferences) * np.log(1 - p)
        return float(-likelihood.sum() + RIDGE / 2 * w @ w)

    best = minimize(loss, np.zeros(2)).x
    found = length_controlled_win_rate(preferences, model, reference)
    assert (found.theta, found.phi) == pytest.approx(best, abs=1e-4)


def test_rows_without_a_verdict_do_not_count() -> None:
    preferences, model, reference = judged(theta=0.4, phi=1.7, n=100)
    gone = preferences.copy()
    gone[::2] = np.nan
    assert length_controlled_win_rate(gone, model, reference) == length_controlled_win_rate(
        preferences[1::2], model[1::2], reference[1::2]
    )
    assert np.isnan(length_controlled_win_rate(gone[::2], model[::2], reference[::2]).win_rate)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_equal_differences_leave_the_win_rate_as_it_is(n: int) -> None:
    preferences = np.array([1.0, 0.0, 1.0] * n)[:n]
    found = length_controlled_win_rate(preferences, np.full(n, 30.0), np.full(n, 10.0))
    if n == 30:
        assert found.win_rate == pytest.approx(100 * 2 / 3, abs=0.05)
    assert found.phi == 0


def test_separable_verdicts_stay_finite() -> None:
    lengths = np.arange(40.0)
    reference = np.full(40, 19.5)
    found = length_controlled_win_rate((lengths > reference).astype(float), lengths, reference)
    assert found.win_rate == pytest.approx(50, abs=1e-6)
    assert 5 < found.phi < 100
    wins = length_controlled_win_rate(np.ones(40), lengths, reference)
    assert 99 < wins.win_rate < 100
