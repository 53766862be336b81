"""Figures of speculative sampling, by closed forms and other implementations."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from farm.evaluation.speculation import (
    auroc,
    calibration_error,
    excess,
    rates,
    reliability,
    same_law,
    speedup,
)
from farm.seeds import generator


def test_rates_and_speedups_are_per_token() -> None:
    counts = pd.DataFrame(
        [{"generated": 100, "drafted": 120, "discarded": 50, "rejected": 20, "verified": 30}]
    )
    assert rates(counts).iloc[0].tolist() == [0.5, 0.3]
    # 120 tokens of the draft and 30 passes of 10 tokens each, against 100 passes.
    assert speedup(counts, 10.0).tolist() == [pytest.approx(1000 / (120 + 300))]


def test_excess_is_the_height_above_the_baselines_line() -> None:
    baseline = pd.DataFrame({"verification_rate": [0.2, 0.4], "discard_rate": [1.0, 0.2]})
    points = pd.DataFrame({"verification_rate": [0.3, 0.4, 0.5], "discard_rate": [0.5, 0.4, 0.1]})
    np.testing.assert_allclose(excess(points, baseline), [-0.1, 0.2, np.nan])


def test_auroc_is_sklearns_with_ties() -> None:
    rng = generator(0, "auroc")
    estimates = rng.integers(0, 8, 300) / 8
    accepted = rng.random(300) < estimates
    assert auroc(estimates, accepted) == pytest.approx(roc_auc_score(accepted, estimates))
    assert np.isnan(auroc(estimates, np.ones(300, dtype=bool)))


def test_calibration_error_is_zero_where_estimates_are_true() -> None:
    rng = generator(0, "calibration")
    estimates = rng.random(40_000)
    true, wrong = (rng.random(40_000) < p for p in (estimates, estimates**2))
    assert calibration_error(reliability(estimates, true)) < 0.01
    assert calibration_error(reliability(estimates, wrong)) == pytest.approx(1 / 6, abs=0.01)
    bins = reliability(np.array([0.05, 1.0, 0.95]), np.array([True, True, False]))
    assert bins["bin"].tolist() == [0, 9]
    assert bins["tokens"].tolist() == [1, 2]
    assert calibration_error(bins) == pytest.approx((1 * 0.95 + 2 * 0.475) / 3)


def test_one_law_is_not_rejected_and_another_is() -> None:
    """Every prompt has a law of its own, most of them nearly sure."""
    rng = generator(0, "law")
    laws_N_V = rng.dirichlet([0.5, 0.3, 0.15, 0.04, 0.01], 800)

    def drawn(p_N_V: np.ndarray) -> np.ndarray:
        return (p_N_V.cumsum(1) < rng.random((800, 1))).sum(1)

    values = [same_law(drawn(laws_N_V), drawn(laws_N_V)) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(values) < 0.05) <= 0.09
    shifted_N_V = 0.9 * laws_N_V + 0.1 * np.eye(5)[2]
    assert same_law(drawn(laws_N_V), drawn(shifted_N_V)) < 1e-6
    assert np.isnan(same_law(np.arange(5), np.arange(5)))
