"""Rankings against closed forms, scipy and simulated truth."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from farm.errors import DataError
from farm.evaluation.bradley_terry import bradley_terry
from farm.evaluation.comparisons import Comparison, compare_all, holm, letters
from farm.evaluation.correlations import kendall, spearman
from farm.evaluation.ranking import rank, rank_correlation, rank_pairwise
from farm.protocols import FloatArray
from farm.seeds import generator


def study(logits: list[float], world: int, seeds: int = 4, instructions: int = 150) -> FloatArray:
    """Verdicts on policies of known strength against a reference, [M, S, N]."""
    rng = generator(world, "study")
    hard = rng.normal(0, 1, (1, 1, instructions))
    luck = rng.normal(0, 0.1, (len(logits), seeds, 1))
    chance = 1 / (1 + np.exp(-(np.array(logits)[:, None, None] + hard + luck)))
    values: FloatArray = (rng.random(chance.shape) < chance).astype(float)
    return values


def named(values_M_S_N: FloatArray) -> dict[str, FloatArray]:
    return dict(zip("abcdefgh", values_M_S_N, strict=False))


def test_two_policies_have_the_log_odds_of_their_wins() -> None:
    strengths = bradley_terry(np.array([[[0, 30.0], [10, 0]]]))[0]
    assert strengths[0] - strengths[1] == pytest.approx(np.log(3), abs=1e-3)
    assert strengths.sum() == pytest.approx(0, abs=1e-9)


def test_strengths_maximise_the_likelihood_of_soft_wins() -> None:
    wins = generator(0, "wins").random((5, 5)) * 40
    np.fill_diagonal(wins, 0)

    def loss(free: FloatArray) -> float:
        s = np.append(free, -free.sum())
        return float((wins * np.logaddexp(0, s[None, :] - s[:, None])).sum())

    expected = optimize.minimize(loss, np.zeros(4), tol=1e-10).x
    assert bradley_terry(wins[None])[0, :4] == pytest.approx(expected, abs=1e-3)


def test_who_always_wins_is_first_and_finite() -> None:
    always = bradley_terry(np.array([[[0, 50.0, 50], [0, 0, 25], [0, 25, 0]]]))[0]
    assert np.isfinite(always).all()
    assert always[0] > 5 > always[1]
    assert always[1] == pytest.approx(always[2])


def test_many_verdicts_against_one_reference_settle() -> None:
    rates_R_M = np.linspace(0.3, 0.7, 14) + generator(0, "star").normal(0, 0.01, (200, 14))
    wins = np.zeros((200, 15, 15))
    wins[:, :-1, -1], wins[:, -1, :-1] = 4000 * rates_R_M, 4000 * (1 - rates_R_M)
    strengths = bradley_terry(wins)
    against_reference = strengths[:, :-1] - strengths[:, -1:]
    assert against_reference == pytest.approx(np.log(rates_R_M / (1 - rates_R_M)), abs=1e-4)


def test_policies_that_never_met_are_named() -> None:
    apart = np.zeros((1, 4, 4))
    apart[0, 0, 1] = apart[0, 1, 0] = apart[0, 2, 3] = 1
    with pytest.raises(DataError, match="2 of 4 policies"):
        bradley_terry(apart)


def test_ranks_of_a_study_with_known_strengths() -> None:
    found = rank(named(study([-1.0, 0.0, 1.5, 0.02], 1)))
    assert [policy.name for policy in found.policies][0::3] == ["c", "a"]
    best, *middle, worst = found.policies
    assert (best.rank.low, best.rank.high) == (1, 1)
    assert best.win_rate.low < best.win_rate.estimate < best.win_rate.high
    # Against one reference a strength is the log-odds of the win rate.
    share = best.win_rate.estimate / 100
    assert best.strength.estimate == pytest.approx(np.log(share / (1 - share)), abs=1e-2)
    assert {policy.letters for policy in middle} == {"b"}
    assert {best.letters, worst.letters} == {"a", "c"}
    assert all(policy.rank.low == 2 and policy.rank.high == 3 for policy in middle)


def test_rank_intervals_cover() -> None:
    logits = [-0.9, -0.5, -0.1, 0.3, 0.7]
    covered = []
    for world in range(25):
        for policy in rank(named(study(logits, world)), seed=world).policies:
            covered.append(policy.rank.low <= 5 - "abcde".index(policy.name) <= policy.rank.high)
    assert np.mean(covered) >= 0.92


def test_pairwise_table_ranks_without_a_reference() -> None:
    truth = {"x": 0.8, "y": 0.0, "z": -0.9}
    rng = generator(0, "pairwise")
    rows = [
        (a, b, i, float(rng.random() < 1 / (1 + np.exp(truth[a] - truth[b]))))
        for i in range(200)
        for a, b in itertools.combinations(truth, 2)
    ]
    table = pd.DataFrame(rows, columns=["policy_a", "policy_b", "instruction_id", "preference"])
    table.loc[3, "preference"] = np.nan
    found = rank_pairwise(table)
    assert [policy.name for policy in found.policies] == ["x", "y", "z"]
    assert [policy.letters for policy in found.policies] == ["a", "b", "c"]
    for policy in found.policies:
        assert policy.strength.estimate == pytest.approx(truth[policy.name] + 0.033, abs=0.25)
    turned = table.assign(
        policy_a=table["policy_b"], policy_b=table["policy_a"], preference=1 - table["preference"]
    )
    assert rank_pairwise(turned).policies == found.policies
    with pytest.raises(DataError, match="two policies"):
        rank_pairwise(table.iloc[:0])


def test_correlations_of_rows_are_those_of_scipy() -> None:
    x, y = generator(0, "correlations").integers(0, 5, (2, 20, 7)).astype(float)
    assert spearman(x, y) == pytest.approx(
        [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    )
    assert kendall(x, y) == pytest.approx(
        [stats.kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)]
    )


def test_rank_correlation_resamples_both_sides() -> None:
    logits = np.linspace(-1.5, 1.5, 8).tolist()
    x, y = study(logits, 1), study(logits, 2)
    found = rank_correlation(x, y)
    expected = stats.spearmanr(x.mean((1, 2)), y.mean((1, 2))).statistic
    assert found.spearman.estimate == pytest.approx(expected)
    assert found.spearman.low < 1
    assert 0.8 < found.spearman.low <= found.spearman.estimate <= found.spearman.high
    known = np.broadcast_to(np.array(logits)[:, None, None], x.shape)
    assert rank_correlation(x, known).spearman.low >= found.spearman.low
    nothing = rank_correlation(study([0.0] * 8, 3), study([0.0] * 8, 4))
    assert nothing.kendall.low < 0 < nothing.kendall.high
    assert np.isnan(rank_correlation(x, np.full_like(x, 0.5)).spearman.estimate)
    with pytest.raises(DataError, match="three policies"):
        rank_correlation(x[:2], y[:2])


def test_holm_by_hand() -> None:
    assert holm(np.array([0.04, 0.01, 0.03, 0.2])) == pytest.approx([0.09, 0.04, 0.09, 0.2])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])


def test_equal_policies_make_a_false_claim_in_five_percent_of_studies() -> None:
    claims = []
    for world in range(200):
        found = compare_all(named(study([0.2] * 4, world, seeds=5, instructions=40)))
        claims.append(min(comparison.adjusted for comparison in found) < 0.05)
    assert np.mean(claims) <= 0.096  # three standard errors above 5 %


def test_letters_are_shared_exactly_where_policies_are_not_told_apart() -> None:
    names = "abcdef"
    for world in range(50):
        rng = generator(world, "letters")
        apart = {pair: rng.random() < 0.5 for pair in itertools.combinations(names, 2)}
        found = letters(
            names, [Comparison(*pair, 0, 1, 0, 0.01 if d else 0.5) for pair, d in apart.items()]
        )
        assert all(found.values())
        for (one, two), told_apart in apart.items():
            assert told_apart != bool(set(found[one]) & set(found[two]))


def test_letters_of_a_chain() -> None:
    # b is told apart from neither a nor c, which are told apart.
    chain = [Comparison("a", "c", 1, 1, 0, 0.01), Comparison("a", "b", 1, 1, 0, 0.3)]
    assert letters(["a", "b", "c"], chain) == {"a": "a", "b": "ab", "c": "b"}


def test_a_ranking_needs_policies_that_fit_together() -> None:
    with pytest.raises(DataError, match="the same seeds and instructions"):
        rank({"a": np.ones((2, 3)), "b": np.ones((2, 4))})
    with pytest.raises(DataError, match="preference - 1"):
        rank({"a": np.ones((2, 3)), "b": np.full((2, 3), 1.5)})
