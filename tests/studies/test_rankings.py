"""Rankings of made-up policies whose order is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from farm.protocols import FloatArray
from farm.seeds import generator
from farm.studies.rankings import (
    HALVES,
    correlations,
    dose_response,
    places,
    values,
    variance,
    win_rates,
    with_gold,
)

PEOPLE, POOL = "people", "pool"
NAMES = ("start", "p", "q", "r", "s")


def answers(rates: dict[tuple[str, str], list[float]], seeds: int = 3, n: int = 40) -> pd.DataFrame:
    """Values around rates by (annotators, evaluator) and policy, seed and instruction; learned but
    for the first."""
    frames = []
    evaluators = {evaluator for _, evaluator in rates}
    for annotators in (POOL, PEOPLE):
        for place, name in enumerate(NAMES):
            for seed in range(seeds):
                noise = generator(seed, annotators, name).uniform(-0.1, 0.1, size=n)
                frames.append(
                    pd.DataFrame(
                        {
                            "instruction_id": [f"i{i}" for i in range(n)],
                            "annotators": annotators,
                            "policy": name,
                            "learned": place > 0,
                            "seed": seed,
                            "gold": float(place),
                            "gold_reference": 2.0,
                            "length": 10.0 * place,
                        }
                        | {f"by {e}": rates[annotators, e][place] + noise for e in evaluators}
                    )
                )
    return pd.concat(frames, ignore_index=True)


TRUTH = [0.1, 0.3, 0.5, 0.7, 0.9]
RATES = {
    (PEOPLE, PEOPLE): TRUTH,
    (PEOPLE, POOL): [0.1, 0.5, 0.3, 0.7, 0.9],  # as a judge the pool takes p for better than q
    (POOL, PEOPLE): [0.1, 0.7, 0.5, 0.3, 0.9],  # what it trains is better in p than in r
    (POOL, POOL): TRUTH[::-1],
}


@pytest.fixture(scope="module")
def policies() -> pd.DataFrame:
    return answers(RATES)


def test_values_are_seeds_by_instructions_whatever_the_order_of_rows(
    policies: pd.DataFrame,
) -> None:
    found = values(policies, PEOPLE, POOL)
    assert list(found) == list(NAMES)
    shuffled = values(policies.sample(frac=1, random_state=0), PEOPLE, POOL)
    for name, values_S_N in found.items():
        assert values_S_N.shape == (3, 40)
        np.testing.assert_array_equal(values_S_N, shuffled[name])
    rows = policies[(policies["annotators"] == PEOPLE) & (policies["policy"] == "q")]
    one = rows[(rows["seed"] == 1) & (rows["instruction_id"] == "i0")]["by pool"].item()
    assert found["q"][1, 0] == one


def test_golds_verdict_halves_ties_and_leaves_the_unknown_open() -> None:
    frame = pd.DataFrame({"gold": [1.0, 2.0, 3.0, np.nan], "gold_reference": 2.0})
    found = with_gold(frame)["by gold"]
    np.testing.assert_array_equal(found, [0.0, 0.5, 1.0, np.nan])


def test_win_rates_are_means_in_percent_inside_their_intervals(policies: pd.DataFrame) -> None:
    found = win_rates(policies)
    assert len(found) == 2 * 2 * len(NAMES)
    means = policies.groupby(["annotators", "policy"])["by pool"].mean()
    for row in found[found["evaluator"] == POOL].itertuples():
        assert row.win_rate == pytest.approx(100 * means[row.annotators, row.policy])
        assert row.win_rate_low < row.win_rate < row.win_rate_high
        assert row.learned == (row.policy != "start")


@pytest.mark.parametrize(
    ("comparison", "simulated"),
    [
        ("end to end", RATES[POOL, POOL]),
        ("evaluation only", RATES[PEOPLE, POOL]),
        ("training only", RATES[POOL, PEOPLE]),
    ],
)
def test_each_comparison_is_of_its_own_two_rankings(
    policies: pd.DataFrame, comparison: str, simulated: list[float]
) -> None:
    found = correlations(policies, PEOPLE).set_index(["comparison", "policies"])
    for kind, start in (("all", 0), ("learned", 1)):
        row = found.loc[comparison, kind]
        assert row["n"] == len(NAMES) - start
        assert row["spearman"] == pytest.approx(spearmanr(TRUTH[start:], simulated[start:])[0])
        assert row["kendall"] == pytest.approx(kendalltau(TRUTH[start:], simulated[start:])[0])
        assert row["spearman_low"] <= row["spearman"] <= row["spearman_high"]


def test_people_are_held_against_themselves_where_there_are_two_seeds(
    policies: pd.DataFrame,
) -> None:
    found = correlations(policies, PEOPLE).set_index(["comparison", "policies"])
    assert found.loc[HALVES, "all"]["spearman"].item() == 1.0
    one = correlations(policies[policies["seed"] == 0], PEOPLE)
    assert HALVES not in set(one["comparison"])


def test_two_learned_policies_have_no_correlation(policies: pd.DataFrame) -> None:
    few = policies[policies["policy"].isin(["start", "p", "q"])]
    assert set(correlations(few, PEOPLE)["policies"]) == {"all"}


def test_places_are_best_first_by_either_side_with_the_people_last(policies: pd.DataFrame) -> None:
    found = places(policies, PEOPLE, POOL)
    assert found["places"]["annotators"].tolist() == [POOL] * 5 + [PEOPLE] * 5
    assert found["places"]["policy"].tolist() == [*NAMES, *NAMES[::-1]]
    assert found["places"]["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    assert found["places"]["letters"].tolist() == list("abcde") * 2, "differences are far apart"
    comparisons = found["comparisons"].set_index(["annotators", "first", "second"])
    assert comparisons.loc[(PEOPLE, "start", "s"), "difference"] == pytest.approx(-80, abs=3)
    assert comparisons.loc[(POOL, "start", "s"), "difference"] == pytest.approx(80, abs=3)


def test_a_bias_costs_the_gold_utility_of_what_it_chooses() -> None:
    rates = {(a, e): TRUTH for a in (POOL, PEOPLE) for e in (POOL, PEOPLE)}
    rates |= {(a, "length 1"): TRUTH[::-1] for a in (POOL, PEOPLE)}
    found = dose_response(answers(rates), PEOPLE, POOL, {"length": (1.0,)}).set_index("dose")
    assert found.loc[0.0, ["spearman", "regret", "chosen_length"]].tolist() == [1.0, 0.0, 40.0]
    assert found.loc[1.0, ["spearman", "regret", "chosen_length"]].tolist() == [-1.0, 4.0, 0.0]
    assert found["chosen"].tolist() == ["s", "start"]


def of_one_policy(values_S_N: FloatArray) -> pd.DataFrame:
    seeds, n = values_S_N.shape
    return pd.DataFrame(
        {
            "annotators": POOL,
            "policy": "p",
            "seed": np.repeat(np.arange(seeds), n),
            "instruction_id": np.tile([f"i{i}" for i in range(n)], seeds),
            "by pool": values_S_N.ravel(),
        }
    )


def test_variance_belongs_to_what_varies() -> None:
    steps = np.linspace(0.2, 0.8, 4)
    by_seed = variance(of_one_policy(np.tile(steps[:, None], (1, 30))), POOL).iloc[0]
    assert by_seed["seed"] == pytest.approx(100)
    assert by_seed["standard_error"] == pytest.approx(100 * steps.std(ddof=1) / 2)
    by_instruction = variance(of_one_policy(np.tile(steps, (3, 5))), POOL).iloc[0]
    assert by_instruction["instruction"] == pytest.approx(100)
    assert variance(of_one_policy(np.ones((1, 5))), POOL).empty
