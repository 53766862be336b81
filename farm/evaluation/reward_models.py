"""How well scores of single answers say which of two is preferred: accuracy and its ceiling,
calibration, categories, and what length has to do with it.

Frames of pairs have the columns instruction_id, score_a, score_b and preference, P(output_b is
better) in [0, 1], hard or soft; NaN: no verdict. A pair without a verdict or without both scores
is left out and counted. Of soft labels a model is right by as much as a label drawn with them
would agree: with probability q where it puts b above a, 1 - q where below, one half where the
scores are equal. Accuracies are shares. All intervals are 95 %, by resampling instructions with
all their pairs, and so conditional on this model and these labels.

In the names of arrays N are pairs, C categories, B bins, and R rows of which the first is the
estimate and the others are bootstrap samples.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm.checks import require
from farm.errors import DataError
from farm.evaluation.agreement import Samples, Tally, mean_interval, resampled, share_interval
from farm.evaluation.glm import Rows, fit_newton, log_loss, sigmoid
from farm.evaluation.intervals import (
    NOTHING,
    REPLICATES,
    Interval,
    percentiles,
    percentiles_of_rows,
    ratio,
)
from farm.evaluation.rates import checked
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd

BINS = 10


class Judged(NamedTuple):
    """Pairs with two scores and a verdict."""

    gains_N: FloatArray
    """score_b - score_a."""
    preferences_N: FloatArray
    samples: Samples
    frame: "pd.DataFrame"
    """Their rows, for what only some figures need."""
    n_missing: int
    """Rows left out."""

    @property
    def right_N(self) -> FloatArray:
        """How right the model is about each pair, in [0, 1]."""
        return 0.5 + np.sign(self.gains_N) * (self.preferences_N - 0.5)


def judged(frame: "pd.DataFrame", *, seed: int = 0, replicates: int = REPLICATES) -> Judged:
    """The pairs of a frame that count, ready for the figures below. Raises `DataError` for missing
    columns, preferences outside [0, 1], infinite scores, and where no pair is left."""
    _need(frame, "instruction_id", "score_a", "score_b", "preference")
    gains = (frame["score_b"] - frame["score_a"]).to_numpy(np.float64)
    preferences = checked(frame["preference"].to_numpy(np.float64))
    known = ~(np.isnan(gains) | np.isnan(preferences))
    if not known.any():
        raise DataError(f"none of {len(frame)} pairs has two scores and a verdict.")
    if np.isinf(gains[known]).any():
        raise DataError("scores must be finite, or NaN where the model does not apply.")
    rows = frame[known]
    samples = resampled(rows["instruction_id"].tolist(), replicates=replicates, seed=seed)
    return Judged(gains[known], preferences[known], samples, rows, len(frame) - len(rows))


def _need(frame: "pd.DataFrame", *columns: str) -> None:
    if absent := [name for name in columns if name not in frame.columns]:
        raise DataError(
            f"the frame lacks the column {', '.join(absent)}; it has {list(frame.columns)}."
        )


# ---------------------------------------------------------------------------------- accuracy


def accuracy(pairs: Judged) -> Interval:
    """Mean of how right the model is; equal scores and tied labels count half."""
    return share_interval(_each(pairs.right_N), pairs.samples)


def _each(values_N: FloatArray) -> Tally:
    return Tally(values_N, np.ones_like(values_N))


class Ceiling(NamedTuple):
    """What accuracy can be had at all against noisy labels."""

    best: Interval
    """Of a model that says of every pair what is likelier: mean max(q', 1 - q')."""
    annotator: Interval
    """Of one verdict of the annotator without noise, drawn anew: mean q q' + (1 - q)(1 - q')."""


def noisy_ceiling(
    expectations_N: FloatArray,
    instruction_ids: Sequence[str],
    *,
    flip: float,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Ceiling:
    """From q, the exact expectations of the annotator without noise, of labels each of which is
    turned with probability `flip`: q' = (1 - 2 flip) q + flip. NaN is left out. Raises ConfigError
    unless 0 <= flip <= 0.5."""
    require("flip", flip, "between 0 and 0.5", 0 <= flip <= 0.5)
    q_N = checked(expectations_N)
    known = ~np.isnan(q_N)
    if not known.any():
        return Ceiling(NOTHING, NOTHING)
    ids = [id for id, counts in zip(instruction_ids, known, strict=True) if counts]
    samples = resampled(ids, replicates=replicates, seed=seed)
    q_N = q_N[known]
    noisy_N = (1 - 2 * flip) * q_N + flip
    return Ceiling(
        share_interval(_each(np.maximum(noisy_N, 1 - noisy_N)), samples),
        share_interval(_each(q_N * noisy_N + (1 - q_N) * (1 - noisy_N)), samples),
    )


# ------------------------------------------------------------------------------- calibration


class Calibration(NamedTuple):
    """Of sigmoid(score_b - score_a) as P(output_b is better). No figure depends on which answer is
    called a."""

    brier: Interval
    """Mean squared distance from the label; 0.25 for a model that says one half of every pair.
    Soft labels count as they are, so the noise of a draw from them is not in it."""
    log_loss: Interval
    """Mean cross-entropy with the label, in nats; log 2 = 0.693 for such a model."""
    error: Interval
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599) over bins
    of equally many pairs: mean |accuracy - confidence|, confidence being sigmoid(|difference|).
    Chance alone puts it above 0, and its bootstrap samples above it."""
    slope: Interval
    """By which the differences must be multiplied to explain the labels best: 1 is calibrated,
    below 1 overconfident; 1 / slope is the temperature that mends it. NaN where nothing bounds it,
    as where the model is always right."""


def calibration(pairs: Judged, *, bins: int = BINS) -> Calibration:
    """Calibration with its intervals; that of the slope by one Newton step a bootstrap sample."""
    p_N = sigmoid(pairs.gains_N)
    return Calibration(
        mean_interval(_each((p_N - pairs.preferences_N) ** 2), pairs.samples),
        mean_interval(_each(log_loss(pairs.gains_N, pairs.preferences_N)), pairs.samples),
        _calibration_error(pairs, bins),
        _slope(pairs),
    )


def _calibration_error(pairs: Judged, bins: int) -> Interval:
    size_N = np.abs(pairs.gains_N)
    bin_N = np.empty(len(size_N), dtype=np.int64)
    for number, rows in enumerate(np.array_split(np.argsort(size_N, kind="stable"), bins)):
        bin_N[rows] = number
    excess_N_B = (pairs.right_N - sigmoid(size_N))[:, None] * np.eye(bins)[bin_N]
    weights_R_N = _weights(pairs.samples)
    return percentiles_of_rows(
        np.abs(weights_R_N @ excess_N_B).sum(axis=1) / weights_R_N.sum(axis=1)
    )


def _slope(pairs: Judged) -> Interval:
    spread = float(pairs.gains_N.std())
    if not spread:
        return NOTHING
    scaled_N = pairs.gains_N / spread  # so that the fit's small ridge means the same in any unit
    rows = Rows(scaled_N[:, None], pairs.preferences_N, np.ones_like(scaled_N))
    fit = fit_newton(rows)
    if not fit.identified:
        return NOTHING
    estimate = float(fit.weights_K[0])
    p_N = sigmoid(scaled_N * estimate)
    counts_R_N = pairs.samples.counts_R_N
    step_R = ratio(
        counts_R_N @ ((pairs.preferences_N - p_N) * scaled_N),
        counts_R_N @ (p_N * (1 - p_N) * scaled_N**2),
    )
    return percentiles((estimate + step_R) / spread, estimate / spread)


def _weights(samples: Samples) -> FloatArray:
    counts_R_N = samples.counts_R_N
    return np.vstack([np.ones(counts_R_N.shape[1]), counts_R_N])


# -------------------------------------------------------------------------------- categories


class Categories(NamedTuple):
    """Accuracies by part, and their plain mean, in which every part weighs the same."""

    accuracies: Mapping[str, Interval]
    mean: Interval


def categories(pairs: Judged) -> Categories:
    """By the column category, in the frame's order; pairs weigh the same within a category."""
    accuracies_R_C, names = _by_category(pairs)
    return _categories(accuracies_R_C, names)


def sections(pairs: Judged, parts: Mapping[str, Mapping[str, float]]) -> Categories:
    """Of several categories each, RewardBench's arithmetic: a section's accuracy is the mean of its
    categories' accuracies by the weights in `parts`, the score the plain mean of the sections.

    RewardBench's parts are `farm.data.reward_bench.SECTIONS`. Categories that a frame, or a
    bootstrap sample, lacks do not count, nor do sections without any. Raises `DataError` for a
    category that is in no section.
    """
    accuracies_R_C, names = _by_category(pairs)
    listed = {category for part in parts.values() for category in part}
    if strange := [name for name in names if name not in listed]:
        raise DataError(f"no section has the category {', '.join(strange)}: {list(parts)}.")
    present = {s: part for s, part in parts.items() if any(name in part for name in names)}
    shares_C_S = np.array([[part.get(name, 0.0) for part in present.values()] for name in names])
    known_R_C = ~np.isnan(accuracies_R_C)
    sections_R_S = ratio(np.nan_to_num(accuracies_R_C) @ shares_C_S, known_R_C @ shares_C_S)
    return _categories(sections_R_S, list(present))


def _by_category(pairs: Judged) -> tuple[FloatArray, list[str]]:
    _need(pairs.frame, "category")
    of_pair = pairs.frame["category"].astype(str).tolist()
    names = list(dict.fromkeys(of_pair))
    member_N_C = np.eye(len(names))[[names.index(name) for name in of_pair]]
    weights_R_N = _weights(pairs.samples)
    right_R_C = weights_R_N @ (pairs.right_N[:, None] * member_N_C)
    return ratio(right_R_C, weights_R_N @ member_N_C), names


def _categories(accuracies_R_C: FloatArray, names: Sequence[str]) -> Categories:
    mean_R = np.nanmean(accuracies_R_C, axis=1)
    each = {name: percentiles_of_rows(accuracies_R_C[:, c]) for c, name in enumerate(names)}
    return Categories(each, percentiles_of_rows(mean_R))


# ------------------------------------------------------------------------------------ length


class LengthCorrelations(NamedTuple):
    """Spearman's rank correlation with the difference of lengths, within pairs."""

    score: Interval
    """Of the difference of scores."""
    label: Interval
    """Of the label, for comparison: what length has to do with being preferred."""


def length_correlations(pairs: Judged) -> LengthCorrelations:
    """From the columns length_a and length_b, in any unit.

    Each pair counts in both orientations, so that which answer is called a does not matter.
    """
    _need(pairs.frame, "length_a", "length_b")
    longer_N = (pairs.frame["length_b"] - pairs.frame["length_a"]).to_numpy(np.float64)
    weights_R_N = _weights(pairs.samples)
    score, label = (
        percentiles_of_rows(_turned_spearman(values_N, longer_N, weights_R_N))
        for values_N in (pairs.gains_N, pairs.preferences_N - 0.5)
    )
    return LengthCorrelations(score, label)


def _turned_spearman(x_N: FloatArray, y_N: FloatArray, weights_R_N: FloatArray) -> FloatArray:
    """Spearman's correlation of (x, y) together with (-x, -y), [R]: Pearson's of their ranks, of
    which the mean is 0."""
    x, y = _SignedRanks(x_N), _SignedRanks(y_N)
    found = []
    for weights_N in weights_R_N:  # all at once would take several times the memory of the weights
        ranks_x_N, ranks_y_N = x.under(weights_N), y.under(weights_N)
        variances = (weights_N @ ranks_x_N**2) * (weights_N @ ranks_y_N**2)
        covariance = weights_N @ (ranks_x_N * ranks_y_N)
        found.append(covariance / np.sqrt(variances) if variances else np.nan)
    return np.array(found)


class _SignedRanks:
    """Ranks of values among themselves and their negatives, from the middle."""

    def __init__(self, values_N: FloatArray) -> None:
        self._sign_N = np.sign(values_N)
        distinct, self._place_N = np.unique(np.abs(values_N), return_inverse=True)
        self._distinct = len(distinct)

    def under(self, weights_N: FloatArray) -> FloatArray:
        """[N], where each value is there as often as its weight says; ties share their mean."""
        tied = np.bincount(self._place_N, weights_N, self._distinct)
        ranks = np.cumsum(tied) - tied / 2
        return np.asarray(self._sign_N * ranks[self._place_N])
