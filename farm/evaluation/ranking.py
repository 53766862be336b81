"""Ranking many policies, with what the ranks rest on.

Two designs: all policies against one reference on the same seeds and instructions (`rank`), or
policies against each other (`rank_pairwise`). Ranks are 1 for the best. Percentile intervals of
ranks resample a ranking that is uncertain already, so they lean to the wide side; that of a rank
correlation leans to low values for the same reason.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm.errors import DataError
from farm.evaluation.bands import among
from farm.evaluation.bradley_terry import bradley_terry
from farm.evaluation.comparisons import Comparison, compare_all, holm, letters
from farm.evaluation.correlations import kendall, ranks, spearman
from farm.evaluation.intervals import Interval, crossed_replicates, percentiles_of_rows, resamples
from farm.evaluation.rates import checked
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd


class Ranked(NamedTuple):
    """One policy's place."""

    name: str
    win_rate: Interval
    """In percent, against the reference or averaged over the opponents it met."""
    strength: Interval
    """Bradley-Terry, in log-odds; 0 is the reference, or the mean of all policies."""
    rank: Interval
    letters: str
    """Policies that share a letter are not told apart (5 %, Holm)."""


class Ranking(NamedTuple):
    """Policies, best first, and all comparisons of two of them in points of percent."""

    policies: list[Ranked]
    comparisons: list[Comparison]


class RankCorrelation(NamedTuple):
    """Of two rankings of the same policies."""

    spearman: Interval
    kendall: Interval
    """tau-b"""


class _Rates(NamedTuple):
    """What the policies reach: first row the estimate, then its bootstrap replicates."""

    rates_R_M: FloatArray
    strengths_R_M: FloatArray


def rank(values: Mapping[str, FloatArray], *, seed: int = 0) -> Ranking:
    """From each policy's P(it beats the reference), over seeds [S] and instructions [N] in [0, 1].

    NaN is no verdict. Intervals resample seeds and instructions, the same for all policies.
    Raises `DataError` for values outside [0, 1], shapes that differ, or fewer than two policies.
    """
    values_M_S_N = _stacked(values)
    found = crossed_replicates(values_M_S_N, seed=seed)
    rates_R_M = np.vstack([found.estimates_M, found.replicates_R_M])
    verdicts_M = (~np.isnan(values_M_S_N)).sum(axis=(1, 2))
    wins_R_M = np.clip(rates_R_M, 0, 1) * verdicts_M
    strengths = bradley_terry(_against_reference(wins_R_M, verdicts_M))
    against_reference_R_M = strengths[:, :-1] - strengths[:, -1:]
    percent = {name: 100 * np.asarray(v, dtype=np.float64) for name, v in values.items()}
    rates = _Rates(100 * rates_R_M, against_reference_R_M)
    return _ranking(list(values), rates, compare_all(percent))


def rank_pairwise(table: "pd.DataFrame", *, seed: int = 0) -> Ranking:
    """From a row per verdict: policy_a, policy_b, instruction_id, preference (P(b is better)).

    Rows without a verdict are left out. Intervals resample instructions; comparisons are of
    strengths, by their bootstrap standard error and the normal distribution. Raises `DataError` for
    preferences outside [0, 1] and policies that no chain of comparisons connects.
    """
    rows = table.dropna(subset=["preference"])
    names = sorted({*rows["policy_a"], *rows["policy_b"]})
    if len(names) < 2:
        raise DataError(f"a ranking needs verdicts on two policies or more; here are {len(names)}.")
    wins_N_M_M = _wins(rows, names)
    weights_R_N = np.vstack([np.ones(len(wins_N_M_M)), resamples(len(wins_N_M_M), seed=seed)])
    wins_R_M_M = np.tensordot(weights_R_N, wins_N_M_M, axes=1)
    won_R_M, lost_R_M = wins_R_M_M.sum(axis=2), wins_R_M_M.sum(axis=1)
    rates_R_M = 100 * won_R_M / np.maximum(won_R_M + lost_R_M, 1e-12)
    rates = _Rates(rates_R_M, bradley_terry(wins_R_M_M))
    return _ranking(names, rates, _compare_strengths(names, rates))


def rank_correlation(
    values_x_M_S_N: FloatArray, values_y_M_S_N: FloatArray, *, seed: int = 0
) -> RankCorrelation:
    """How well two evaluations rank the same policies [M] alike.

    Each holds values over the same seeds [S] and instructions [N]; both rankings are resampled,
    with the same seeds and instructions for x and y. A ranking that is known exactly is
    `np.broadcast_to(known_M[:, None, None], values_x_M_S_N.shape)`. Raises `DataError` for shapes
    that differ and fewer than three policies (two always correlate perfectly).
    """
    x, y = np.asarray(values_x_M_S_N, np.float64), np.asarray(values_y_M_S_N, np.float64)
    if x.shape != y.shape or len(x) < 3:
        raise DataError(
            "a rank correlation needs three policies or more, with the same policies, seeds and "
            f"instructions on both sides; the shapes are {x.shape} and {y.shape}."
        )
    found = crossed_replicates(np.concatenate([x, y]), seed=seed)
    both_R_M = np.vstack([found.estimates_M, found.replicates_R_M])
    x_R_M, y_R_M = both_R_M[:, : len(x)], both_R_M[:, len(x) :]
    return RankCorrelation(
        percentiles_of_rows(spearman(x_R_M, y_R_M)),
        percentiles_of_rows(kendall(x_R_M, y_R_M)),
    )


def _stacked(values: Mapping[str, FloatArray]) -> FloatArray:
    shapes = {np.shape(v) for v in values.values()}
    if len(values) < 2 or len(shapes) > 1:
        raise DataError(
            "a ranking needs two policies or more on the same seeds and instructions; here are "
            f"{len(values)}, with shapes {', '.join(map(str, sorted(shapes)))}."
        )
    return checked(np.stack([np.asarray(v, dtype=np.float64) for v in values.values()]))


def _against_reference(wins_R_M: FloatArray, verdicts_M: FloatArray) -> FloatArray:
    """Tables of wins in which the reference, last, met every policy and nobody else."""
    replicates, policies = wins_R_M.shape
    tables = np.zeros((replicates, policies + 1, policies + 1))
    tables[:, :-1, -1] = wins_R_M
    tables[:, -1, :-1] = verdicts_M - wins_R_M
    return tables


def _wins(rows: "pd.DataFrame", names: list[str]) -> FloatArray:
    """Wins of row over column on every instruction, [N, M, M]."""
    instructions, number = np.unique(rows["instruction_id"].to_numpy(str), return_inverse=True)
    a, b = (np.searchsorted(names, rows[side].to_numpy(str)) for side in ("policy_a", "policy_b"))
    preference = checked(rows["preference"].to_numpy(np.float64))
    wins = np.zeros((len(instructions), len(names), len(names)))
    np.add.at(wins, (number, b, a), preference)
    np.add.at(wins, (number, a, b), 1 - preference)
    return wins


def _compare_strengths(names: list[str], rates: _Rates) -> list[Comparison]:
    from scipy.stats import norm

    first, second = np.triu_indices(len(names), k=1)
    gain_R_C = rates.strengths_R_M[:, first] - rates.strengths_R_M[:, second]
    errors_C = gain_R_C[1:].std(axis=0, ddof=1)
    p_values = 2 * norm.sf(np.abs(gain_R_C[0]) / np.maximum(errors_C, 1e-12))
    points_C = rates.rates_R_M[0, first] - rates.rates_R_M[0, second]
    point_errors_C = (rates.rates_R_M[1:, first] - rates.rates_R_M[1:, second]).std(axis=0, ddof=1)
    columns = (points_C, point_errors_C, p_values, holm(p_values))
    return [
        Comparison(names[i], names[j], *map(float, row))
        for i, j, *row in zip(first, second, *columns, strict=True)
    ]


def _ranking(names: list[str], rates: _Rates, comparisons: list[Comparison]) -> Ranking:
    ranks_R_M = ranks(-rates.strengths_R_M)
    best_first = np.argsort(ranks_R_M[0], kind="stable")
    groups = letters([names[m] for m in best_first], comparisons)
    policies = [
        Ranked(
            names[m],
            percentiles_of_rows(rates.rates_R_M[:, m]),
            percentiles_of_rows(rates.strengths_R_M[:, m]),
            among(ranks_R_M[1:, m], float(ranks_R_M[0, m])),
            groups[names[m]],
        )
        for m in best_first
    ]
    return Ranking(policies, comparisons)
