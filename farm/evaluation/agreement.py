"""How an annotator's verdicts relate to labels: agreement, bias, variance and tastes.

The definitions are those of AlpacaEval's evaluators table (alpaca_eval 0.6.6), with the
expectation over ties between modes in place of one random choice. Verdicts and labels are
P(output_b is better) in [0, 1], NaN for none. In the names of arrays N are pairs, D repeated
draws of the annotator, K labels of a pair, R bootstrap samples and S systems.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from farm.evaluation.correlations import pearson, spearman
from farm.evaluation.intervals import (
    NOTHING,
    Interval,
    exact_if_unanimous,
    percentiles,
    percentiles_of_rows,
    ratio,
    resamples,
)
from farm.protocols import FloatArray

BoolArray = NDArray[np.bool_]

_HARD = (0.0, 0.5, 1.0)
_FEWEST_SYSTEMS = 3  # two systems always correlate perfectly


class Tally(NamedTuple):
    """A mean over verdicts, kept apart by pair so that pairs can be resampled; [N] each."""

    top: FloatArray
    """The sum over a pair's verdicts."""
    bottom: FloatArray
    """How many of them count."""


class Samples(NamedTuple):
    """Bootstrap samples of pairs; those of one instruction come and go together."""

    counts_R_N: FloatArray
    """How often each pair is in each sample."""
    instructions_N: NDArray[np.int64]
    """The number of each pair's instruction."""


class Correlations(NamedTuple):
    """Of the systems' win rates by the annotator with those by the labels."""

    spearman: Interval
    pearson: Interval


# --------------------------------------------------------------------------------- agreement


def agreement(draws_N_D: FloatArray, labels_N_K: FloatArray) -> Tally:
    """1 - |verdict - label|, over all draws.

    Where a pair has several labels, each is left out in turn and the verdict compared with the
    mode of the others; so the figure can be held against `leave_one_out(labels)`, the agreement
    of one labeller with the others.
    """
    known_N_K = ~np.isnan(labels_N_K)
    share_N = 1 / np.maximum(known_N_K.sum(axis=1), 1)
    values_N_D, weights_N_D = _each(draws_N_D)
    tallies = [
        _against(values_N_D, weights_N_D * (known_N_K[:, k] * share_N)[:, None], rest_N_K)
        for k, rest_N_K in enumerate(_rests(labels_N_K, keep_single=True))
    ]
    return _total(tallies)


def leave_one_out(votes_N_K: FloatArray) -> Tally:
    """1 - |one - mode of the others|, each vote in turn; pairs with a single vote do not count.

    One less this is AlpacaEval's *variance* of an annotator whose draws are the votes.
    """
    values_N_K, weights_N_K = _each(votes_N_K)
    tallies = [
        _against(values_N_K[:, [k]], weights_N_K[:, [k]], rest_N_K)
        for k, rest_N_K in enumerate(_rests(votes_N_K, keep_single=False))
    ]
    return _total(tallies)


def mode_agreement(draws_N_D: FloatArray, labels_N_K: FloatArray) -> Tally:
    """1 - |mode of the draws - mode of the labels|; one less this is AlpacaEval's *bias*."""
    return _against(*modes(draws_N_D), labels_N_K)


def modes(votes_N_K: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(values, weights) of each pair's most frequent votes, [N, K] each.

    Weights sum to 1, equal for modes that tie, and are all 0 without votes. Where any vote is
    neither 0, 0.5 nor 1 the median stands for the mode.
    """
    values_N_K, known_N_K = _each(votes_N_K)
    same_N_K_K = (values_N_K[:, :, None] == values_N_K[:, None, :]) * known_N_K[:, None, :]
    counts_N_K = same_N_K_K.sum(axis=2) * known_N_K
    modal_N_K = (counts_N_K == counts_N_K.max(axis=1, keepdims=True)) * known_N_K
    weights_N_K = modal_N_K / np.maximum(modal_N_K.sum(axis=1, keepdims=True), 1)
    soft_N = ~np.isin(values_N_K, _HARD).all(axis=1)
    if soft_N.any():
        values_N_K[soft_N] = np.nanmedian(votes_N_K[soft_N], axis=1, keepdims=True)
    return values_N_K, weights_N_K


def _each(votes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(values, weights): every vote that is there counts 1."""
    known = ~np.isnan(votes)
    return np.where(known, votes, 0.0), known.astype(np.float64)


def _rests(votes_N_K: FloatArray, *, keep_single: bool) -> list[FloatArray]:
    """The votes without the first, without the second, and so on; a pair's only vote stays if it
    is to be kept."""
    left_out_N = (~np.isnan(votes_N_K)).sum(axis=1) > (1 if keep_single else 0)
    columns = np.arange(votes_N_K.shape[1])
    return [np.where(left_out_N[:, None] & (columns == k), np.nan, votes_N_K) for k in columns]


def _total(tallies: Sequence[Tally]) -> Tally:
    tops, bottoms = zip(*tallies, strict=True)
    return Tally(np.sum(tops, axis=0), np.sum(bottoms, axis=0))


def _against(values_N_D: FloatArray, weights_N_D: FloatArray, labels_N_K: FloatArray) -> Tally:
    """Weighted sum of the values' expected agreement with the mode of the labels."""
    targets_N_K, target_weights_N_K = modes(labels_N_K)
    distance_N_D_K = np.abs(values_N_D[:, :, None] - targets_N_K[:, None, :])
    distance_N_D = (target_weights_N_K[:, None, :] * distance_N_D_K).sum(axis=2)
    weights_N_D = weights_N_D * (target_weights_N_K.sum(axis=1, keepdims=True) > 0)
    return Tally((weights_N_D * (1 - distance_N_D)).sum(axis=1), weights_N_D.sum(axis=1))


# ------------------------------------------------------------------------------------ tastes


def side(feature_a_N: FloatArray, feature_b_N: FloatArray, *, beyond: float = 0.0) -> FloatArray:
    """Which answer has more of a feature: 1 is b, -1 is a, 0 where they differ by `beyond` or
    less."""
    gain_N = np.asarray(feature_b_N, np.float64) - np.asarray(feature_a_N, np.float64)
    sides: FloatArray = np.sign(gain_N) * (np.abs(gain_N) > beyond)
    return sides


def prefers(draws_N_D: FloatArray, side_N: FloatArray) -> Tally:
    """How often the answer on that side is preferred; ties and pairs without a side do not
    count."""
    verdicts_N_D = np.nan_to_num(np.sign(draws_N_D - 0.5)) * side_N[:, None]
    return Tally(
        (verdicts_N_D > 0).sum(axis=1).astype(np.float64),
        (verdicts_N_D != 0).sum(axis=1).astype(np.float64),
    )


def prefers_first(draws_N_D: FloatArray, b_first_N_D: BoolArray) -> Tally:
    """P(the answer that the judge saw first is better); a tie counts half."""
    return mean(np.where(b_first_N_D, draws_N_D, 1 - draws_N_D))


def mean(values_N_D: FloatArray) -> Tally:
    """The mean of what is not NaN."""
    values, known = _each(values_N_D)
    return Tally(values.sum(axis=1), known.sum(axis=1))


# --------------------------------------------------------------------------------- intervals


def resampled(instructions_N: Sequence[Hashable], *, replicates: int, seed: int) -> Samples:
    """Draws instructions, each with all its pairs; `instructions_N` names that of each pair."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(instructions_N))}
    numbers_N = np.array([numbers[name] for name in instructions_N])
    counts = resamples(len(numbers), seed=seed, replicates=replicates)
    return Samples(counts[:, numbers_N], numbers_N)


def mean_interval(tally: Tally, samples: Samples) -> Interval:
    """The mean with its 95 % interval over instructions; NaN where nothing counts."""
    if not tally.bottom.any():
        return NOTHING
    counts_R_N = samples.counts_R_N
    replicates_R = ratio(counts_R_N @ tally.top, counts_R_N @ tally.bottom)
    return percentiles(replicates_R, float(tally.top.sum() / tally.bottom.sum()))


def share_interval(tally: Tally, samples: Samples) -> Interval:
    """As `mean_interval`, for means in [0, 1], exact where every pair says 0 or every pair says
    1; n are the instructions."""
    instructions = len(np.unique(samples.instructions_N[tally.bottom > 0]))
    return exact_if_unanimous(mean_interval(tally, samples), instructions)


def system_correlations(
    draws_N_D: FloatArray,
    labels_N_K: FloatArray,
    systems_N: NDArray[np.int64],
    samples: Samples,
) -> Correlations:
    """Rank and linear correlation of the systems' mean verdicts with their mean labels.

    `systems_N` numbers the system that wrote output_b. NaN with fewer than three systems, or
    where all of them do equally well.
    """
    systems = int(systems_N.max(initial=-1)) + 1  # without numbers there are none
    if systems < _FEWEST_SYSTEMS:
        return Correlations(NOTHING, NOTHING)
    weights_R_N = np.vstack([np.ones(len(systems_N)), samples.counts_R_N])  # first the estimate
    wrote_N_S = np.eye(systems)[systems_N]
    ours, theirs = (_win_rates(v, wrote_N_S, weights_R_N) for v in (draws_N_D, labels_N_K))
    return Correlations(
        percentiles_of_rows(spearman(ours, theirs)),
        percentiles_of_rows(pearson(ours, theirs)),
    )


def _win_rates(
    values_N_D: FloatArray, wrote_N_S: FloatArray, weights_R_N: FloatArray
) -> FloatArray:
    tally = mean(values_N_D)
    tops, bottoms = (weights_R_N @ (part[:, None] * wrote_N_S) for part in tally)
    return ratio(tops, bottoms)
