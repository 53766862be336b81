"""Figures of reward models in closed form, against scikit-learn and scipy, and in simulation."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss, log_loss

from farm.data.reward_bench import SECTIONS
from farm.errors import ConfigError, DataError
from farm.evaluation.agreement import resampled
from farm.evaluation.glm import Rows, fit_newton, sigmoid
from farm.evaluation.reward_models import (
    Judged,
    _turned_spearman,
    accuracy,
    calibration,
    categories,
    judged,
    length_correlations,
    noisy_ceiling,
    sections,
)
from farm.protocols import FloatArray
from farm.seeds import generator

NAN = float("nan")


def frame(n: int, *, scale: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Labels drawn from the logits that the scores differ by, over `scale`; three pairs an
    instruction."""
    rng = generator(seed, "pairs")
    score_a, score_b = rng.normal(0, 1.5, (2, n))
    chance = sigmoid(score_b - score_a)
    return pd.DataFrame(
        {
            "instruction_id": np.arange(n) // 3,
            "score_a": scale * score_a,
            "score_b": scale * score_b,
            "preference": (rng.random(n) < chance).astype(float),
            "category": np.array(["easy", "hard"])[(rng.random(n) < 0.3).astype(int)],
            "length_a": rng.integers(1, 50, n) + np.round(5 * score_a),
            "length_b": rng.integers(1, 50, n) + np.round(5 * score_b),
        }
    )


def turned(pairs: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Half of the pairs the other way round."""
    found, rows = pairs.copy(), generator(seed, "turn").random(len(pairs)) < 0.5
    for name in ("score", "length"):
        a, b = f"{name}_a", f"{name}_b"
        found.loc[rows, [a, b]] = pairs.loc[rows, [b, a]].to_numpy()
    found.loc[rows, "preference"] = 1 - pairs.loc[rows, "preference"]
    return found


def small(gains: list[float], preferences: list[float], **columns: Any) -> Judged:
    rows = {"instruction_id": range(len(gains)), "score_a": 0.0, "score_b": gains}
    return judged(pd.DataFrame({**rows, "preference": preferences, **columns}), replicates=200)


# ---------------------------------------------------------------------------------- accuracy


def test_accuracy_by_hand() -> None:
    pairs = small([1, -1, 2, 0, 3, -1, NAN, 1], [1, 1, 0.5, 1, 0.75, 0.25, 1, NAN])
    assert accuracy(pairs).estimate == pytest.approx((1 + 0 + 0.5 + 0.5 + 0.75 + 0.75) / 6)
    assert pairs.n_missing == 2


def test_unanimous_pairs_have_an_exact_interval_over_instructions() -> None:
    pairs = small([1.0] * 30, [1.0] * 30, instruction_id=np.arange(30) // 3)
    found = accuracy(pairs)
    assert (found.estimate, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 10))


def test_pairs_of_one_instruction_come_together() -> None:
    """Each instruction's pairs are right or wrong as one: the interval is that of instructions."""
    right = np.repeat(generator(0, "right").random(100) < 0.7, 9)
    gains = np.where(right, 1.0, -1.0).tolist()
    together = accuracy(small(gains, [1.0] * 900, instruction_id=np.arange(900) // 9))
    apart = accuracy(small(gains, [1.0] * 900))
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(3, rel=0.2)


def test_no_model_beats_the_ceiling_and_the_best_one_reaches_it() -> None:
    rng, n, p = generator(0, "ceiling"), 40_000, 0.2
    q = sigmoid(rng.normal(0, 2, n))
    noisy, drawn = (1 - 2 * p) * q + p, (rng.random(n) < q).astype(float)
    labels = (rng.random(n) < noisy).astype(float)
    found = noisy_ceiling(q, [str(row) for row in range(n)], flip=p, replicates=50)
    best = accuracy(small((q - 0.5).tolist(), labels.tolist())).estimate
    assert found.best.estimate == pytest.approx(best, abs=0.01)
    assert found.best.estimate == pytest.approx((1 - 2 * p) * np.maximum(q, 1 - q).mean() + p)
    assert found.annotator.estimate == pytest.approx(np.mean(drawn == labels), abs=0.01)
    assert found.best.low < found.best.estimate < found.best.high


def test_the_ceiling_of_a_decided_annotator_is_its_noise() -> None:
    found = noisy_ceiling(np.array([0, 1, 1, NAN]), list("abcd"), flip=0.25)
    assert found.best.estimate == found.annotator.estimate == 0.75
    assert np.isnan(noisy_ceiling(np.array([NAN]), ["a"], flip=0.0).best.estimate)
    with pytest.raises(ConfigError, match="flip"):
        noisy_ceiling(np.array([1.0]), ["a"], flip=0.6)


# ------------------------------------------------------------------------------- calibration


def test_losses_are_scikit_learns() -> None:
    rows = frame(600)
    found = calibration(judged(rows, replicates=100))
    chance = sigmoid((rows.score_b - rows.score_a).to_numpy())
    assert found.brier.estimate == pytest.approx(brier_score_loss(rows.preference, chance))
    assert found.log_loss.estimate == pytest.approx(log_loss(rows.preference, chance))


def test_a_model_that_says_nothing() -> None:
    found = calibration(small([0.0] * 40, [1.0, 0.0] * 20))
    assert found.brier.estimate == 0.25
    assert found.log_loss.estimate == pytest.approx(math.log(2))
    assert found.error.estimate == 0
    assert np.isnan(found.slope.estimate)


@pytest.mark.parametrize("scale", [1.0, 2.5, 0.4])
def test_the_slope_is_the_scale_that_labels_were_drawn_at(scale: float) -> None:
    found = calibration(judged(frame(6000, scale=scale), replicates=300)).slope
    assert found.low < 1 / scale < found.high
    assert found.high - found.low < 0.2 / scale


def test_the_slopes_interval_is_that_of_refits() -> None:
    pairs = judged(frame(900), replicates=300)
    refits = [
        fit_newton(Rows(pairs.gains_N[:, None], pairs.preferences_N, counts_N)).weights_K[0]
        for counts_N in pairs.samples.counts_R_N
    ]
    low, high = np.percentile(refits, [2.5, 97.5])
    found = calibration(pairs).slope
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_a_model_that_is_always_right_has_no_slope() -> None:
    assert np.isnan(calibration(small([2.0, -1.0, 1.5] * 9, [1.0, 0.0, 1.0] * 9)).slope.estimate)


def test_calibration_error_by_hand() -> None:
    """Two bins of equally many pairs: the sure ones are right by one half."""
    sure, unsure = math.log(9), math.log(1.5)  # confidence 0.9 and 0.6
    pairs = small([unsure, -unsure, sure, -sure], [1, 0, 1, 1])
    found = calibration(pairs, bins=2).error.estimate
    assert found == pytest.approx(0.5 * (1 - 0.6) + 0.5 * (0.9 - 0.5))


def test_calibration_error_of_calibrated_and_overconfident_models() -> None:
    calibrated, sure = (
        calibration(judged(frame(6000, scale=scale), replicates=100)).error for scale in (1.0, 3.0)
    )
    assert calibrated.estimate < 0.02
    assert sure.low > 0.1


def test_no_figure_depends_on_which_answer_is_called_a() -> None:
    def figures(rows: pd.DataFrame) -> FloatArray:
        pairs = judged(rows, replicates=50)
        found = [accuracy(pairs), *calibration(pairs), categories(pairs).mean]
        return np.array([*found, *length_correlations(pairs)])

    rows = frame(500)
    np.testing.assert_allclose(figures(turned(rows, 1)), figures(rows), rtol=1e-6)


# -------------------------------------------------------------------------------- categories


def test_categories_weigh_the_same_whatever_their_size() -> None:
    pairs = small([1.0] * 8, [1, 1, 1, 1, 0, 0, 1, 0], category=["a"] * 6 + ["b"] * 2)
    found = categories(pairs)
    assert {name: i.estimate for name, i in found.accuracies.items()} == pytest.approx(
        {"a": 4 / 6, "b": 0.5}
    )
    assert found.mean.estimate == pytest.approx((4 / 6 + 0.5) / 2)
    assert found.mean.low < found.mean.estimate < found.mean.high


def with_accuracies(accuracies: dict[str, float], n: int) -> Judged:
    """n pairs of each category."""
    right = [row < round(n * share) for share in accuracies.values() for row in range(n)]
    names = [name for name in accuracies for _ in range(n)]
    return small(np.where(right, 1.0, -1.0).tolist(), [1.0] * len(right), category=names)


@pytest.mark.parametrize(
    ("parts", "overall"),
    [
        ((95.0, 85.5, 94.0, 95.1), 92.4),
        ((97.2, 84.2, 94.6, 95.8), 93.0),
        ((97.5, 80.3, 90.5, 97.9), 91.5),
        ((97.5, 85.7, 95.1, 98.1), 94.1),
    ],
)
def test_published_scores_are_the_mean_of_their_sections(
    parts: tuple[float, ...], overall: float
) -> None:
    """Four reward models of arXiv 2410.01257: chat, chat hard, safety, reasoning."""
    names = ["alpacaeval-hard", "llmbar-natural", "donotanswer", "hep-go"]
    shares = dict(zip(names, (part / 100 for part in parts), strict=True))
    found = sections(with_accuracies(shares, 1000), SECTIONS)
    assert list(found.accuracies) == list(SECTIONS)
    assert 100 * found.mean.estimate == pytest.approx(overall, abs=0.0501)


def test_sections_weigh_their_categories() -> None:
    shares = {"math-prm": 1.0, "hep-go": 0.5, "hep-cpp": 0.0, "donotanswer": 0.2}
    found = sections(with_accuracies(shares, 10), SECTIONS)
    reasoning = (984 * 1.0 + 164 * 0.5) / (984 + 2 * 164)
    assert {name: i.estimate for name, i in found.accuracies.items()} == pytest.approx(
        {"Safety": 0.2, "Reasoning": reasoning}
    )
    assert found.mean.estimate == pytest.approx((0.2 + reasoning) / 2)
    with pytest.raises(DataError, match="no section has the category poems"):
        sections(with_accuracies({"poems": 1.0}, 3), SECTIONS)


# ------------------------------------------------------------------------------------ length


def test_length_correlations_are_scipys_over_both_orientations() -> None:
    rows = frame(300)
    rows.loc[:20, "length_b"] = rows.loc[:20, "length_a"]  # some equal lengths
    pairs = judged(rows, replicates=20)
    found = length_correlations(pairs)
    longer = (rows.length_b - rows.length_a).to_numpy()
    samples = resampled(rows.instruction_id.tolist(), replicates=20, seed=0)
    weights = np.vstack([np.ones(300), samples.counts_R_N]).astype(int)
    for values, interval in (
        (pairs.gains_N, found.score),
        (pairs.preferences_N - 0.5, found.label),
    ):
        expected = [
            spearmanr(np.repeat([values, -values], row, axis=1).ravel(),
                      np.repeat([longer, -longer], row, axis=1).ravel()).statistic
            for row in weights
        ]  # fmt: skip
        assert _turned_spearman(values, longer, weights.astype(float)) == pytest.approx(expected)
        assert interval.estimate == pytest.approx(expected[0])
        assert interval.low < interval.estimate < interval.high


def test_a_model_that_likes_length_and_one_that_has_nothing_to_like() -> None:
    lengths = {"length_a": [3, 9, 4, 1], "length_b": [5, 2, 4, 9]}
    likes = small([0.2, -3.0, 0.0, 9.0], [1, 0, 0.5, 1], **lengths)
    assert length_correlations(likes).score.estimate == pytest.approx(1)
    equal = small([0.2, -3.0, 0.0, 9.0], [1, 0, 0.5, 1], length_a=1, length_b=1)
    assert np.isnan(length_correlations(equal).score.estimate)


# ------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"preference": 2.0}, "outside"),
        ({"preference": NAN}, "none of 9 pairs"),
        ({"score_a": math.inf}, "finite"),
    ],
)
def test_frames_are_checked(change: dict[str, float], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        judged(frame(9).assign(**change))


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match="lacks the column score_b, preference"):
        judged(frame(9).drop(columns=["score_b", "preference"]))
    bare = judged(frame(9).drop(columns=["category", "length_a"]))
    for figure, column in ((categories, "category"), (length_correlations, "length_a")):
        with pytest.raises(DataError, match=f"lacks the column {column}"):
            figure(bare)
