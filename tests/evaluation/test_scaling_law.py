import numpy as np
import pytest

from farm.errors import DataError
from farm.evaluation.intervals import Interval
from farm.evaluation.scaling_law import BEST_OF_N, REINFORCEMENT, Law, fit_law
from farm.protocols import FloatArray
from farm.seeds import generator

D = np.linspace(0, 4, 12)
TRUTHS = [(BEST_OF_N, 1.2, 0.25, 1.2 / 0.5), (REINFORCEMENT, 1.5, 0.8, np.exp(1.5 / 0.8 - 1))]
"""Alpha, beta and where the law is highest."""


def law_of(law: Law, alpha: float, beta: float) -> FloatArray:
    """The paper's formulas, written again."""
    if law is BEST_OF_N:
        return D * (alpha - beta * D)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(D * (alpha - beta * np.log(D)))


def world(means_C: FloatArray, seed: int, n: int = 200) -> FloatArray:
    rng = generator(seed, "gold of a law")
    return 3 + means_C[:, None] + rng.normal(0, 1, n) + rng.normal(0, 0.8, (len(means_C), n))


@pytest.mark.parametrize(("law", "alpha", "beta", "peak"), TRUTHS, ids=["best-of-n", "rl"])
def test_a_law_without_noise_is_found_exactly(
    law: Law, alpha: float, beta: float, peak: float
) -> None:
    gold_C_N = 7 + np.repeat(law_of(law, alpha, beta)[:, None], 3, axis=1)
    fit = fit_law(law, D**2, gold_C_N, seed=0)
    assert fit.alpha.estimate == pytest.approx(alpha)
    assert fit.beta.estimate == pytest.approx(beta)
    assert fit.peak.estimate == pytest.approx(peak)
    assert fit.r_squared == pytest.approx(1)
    np.testing.assert_allclose(fit.gain(D), law_of(law, alpha, beta), atol=1e-9)
    fine = np.linspace(0.01, 8, 100_000)
    assert fine[fit.gain(fine).argmax()] == pytest.approx(peak, abs=1e-3)


@pytest.mark.parametrize(("law", "alpha", "beta", "peak"), TRUTHS, ids=["best-of-n", "rl"])
def test_intervals_cover_the_truth(law: Law, alpha: float, beta: float, peak: float) -> None:
    fits = [fit_law(law, D**2, world(law_of(law, alpha, beta), s), seed=s) for s in range(200)]
    for name, truth in (("alpha", alpha), ("beta", beta), ("peak", peak)):
        covered = np.mean([covers(getattr(fit, name), truth) for fit in fits])
        assert covered == pytest.approx(0.95, abs=0.04), name


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def test_a_curve_that_never_falls_has_its_peak_at_infinity() -> None:
    fit = fit_law(BEST_OF_N, D**2, world(D + 0.1 * D**2, 0), seed=0)
    assert fit.peak == Interval(np.inf, np.inf, np.inf)
    hardly = fit_law(REINFORCEMENT, D**2, world(D, 1), seed=0)
    assert hardly.peak.high == np.inf
    falling = fit_law(BEST_OF_N, D**2, world(-D - D**2, 0), seed=0)
    assert falling.peak.estimate == 0


def test_weights_choose_the_points_that_count_and_unknown_points_do_not() -> None:
    means = law_of(BEST_OF_N, 1.2, 0.25)
    gold_C_N = np.repeat(means[:, None], 4, axis=1)
    gold_C_N[-1] = 50
    weights = np.ones(len(D))
    weights[-1] = 0
    unknown = np.where(np.arange(len(D)) == len(D) - 1, np.nan, D**2)
    weighted = fit_law(BEST_OF_N, D**2, gold_C_N, seed=0, weights_C=weights)
    without = fit_law(BEST_OF_N, unknown, gold_C_N, seed=0)
    assert weighted.alpha.estimate == pytest.approx(1.2)
    assert without.alpha.estimate == pytest.approx(1.2)
    with pytest.raises(DataError, match="two points with KL above 0; there are 1"):
        fit_law(BEST_OF_N, D[:2] ** 2, gold_C_N[:2], seed=0)
