import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from farm.errors import DataError
from farm.evaluation.curve import CURVE_COLUMNS, curve_frame, final_frame
from farm.evaluation.rates import gold_win_rate, win_rate, win_rate_difference
from farm.evaluation.summary import summarize
from farm.seeds import generator

NAN = float("nan")


def test_win_rate_by_hand() -> None:
    found = win_rate(np.array([1, 1, 0.5, 0, NAN, 1]), seed=0)
    assert found.value == pytest.approx(70)
    assert (found.n, found.n_missing, found.ties, found.discrete) == (5, 1, 1, 70)
    assert found.standard_error == pytest.approx(100 * np.std([1, 1, 0.5, 0, 1], ddof=1) / 5**0.5)


def test_interval_agrees_with_the_normal_one() -> None:
    preferences = (generator(0, "test").random(1000) < 0.7).astype(float)
    found = win_rate(preferences, seed=3)
    assert found.low == pytest.approx(found.value - 1.96 * found.standard_error, abs=0.4)
    assert found.high == pytest.approx(found.value + 1.96 * found.standard_error, abs=0.4)
    assert win_rate(preferences, seed=3) == found


def test_unanimous_verdicts_have_the_exact_interval() -> None:
    wins = win_rate(np.ones(20), seed=0)
    # Clopper-Pearson: 20 wins of 20 leave 83.2 % within reach (two-sided, 95 %).
    assert (wins.value, wins.high) == (100, 100)
    assert wins.low == pytest.approx(83.16, abs=0.01)
    losses = win_rate(np.zeros(20), seed=0)
    assert losses.high == pytest.approx(100 - wins.low)
    ties = win_rate(np.full(9, 0.5), seed=0)
    assert ties.interval == (50, 50, 50)


def test_no_verdict_at_all_is_no_rate() -> None:
    found = win_rate(np.array([NAN, NAN]), seed=0)
    assert all(math.isnan(value) for value in found[:4])
    assert found.n_missing == 2


def test_the_discrete_rate_counts_who_is_ahead_not_by_how_much() -> None:
    found = win_rate(np.array([0.51, 0.99, 0.5, 0.2]))
    assert found.value == pytest.approx(55)
    assert found.discrete == pytest.approx(62.5)


def test_codes_of_alpaca_eval_are_refused_with_the_cure() -> None:
    with pytest.raises(DataError, match=r"2 of 4 .* first is 1\.5.*`preference - 1`"):
        win_rate(np.array([1.0, NAN, 1.5, 2.0]))


def test_published_win_rates_and_standard_errors() -> None:
    root = Path(__file__).parents[2]
    shared = Path(os.environ.get("FARM_SHARED_DATA", root.parent / "shared" / "data"))
    folder = shared / "alpaca_eval2"
    if not folder.exists():
        pytest.skip(f"{folder} is not there (FARM_SHARED_DATA names the folder above it)")
    published = pd.read_csv(folder / "leaderboard.csv", index_col=0)
    annotations = pd.read_parquet(folder / "annotations.parquet")
    codes = annotations["preference"].replace(0, 1.5).groupby(annotations["model"])
    found = {model: win_rate(of_model.to_numpy() - 1) for model, of_model in codes}
    assert len(found) == 27
    for model, rate in found.items():
        assert rate.value == pytest.approx(published.loc[model, "win_rate"], abs=0.01)
        assert rate.standard_error == pytest.approx(
            published.loc[model, "standard_error"], abs=0.01
        )


def test_a_paired_difference_forgets_how_hard_instructions_are() -> None:
    hard = generator(0, "hard").random(300)
    better = np.clip(hard + 0.02, 0, 1)
    better[0] = NAN
    found = win_rate_difference(better, hard)
    apart = (win_rate(better).standard_error ** 2 + win_rate(hard).standard_error ** 2) ** 0.5
    assert found.value == pytest.approx(100 * np.nanmean(better - hard))
    assert found.standard_error < apart / 20
    assert found.low <= found.value <= found.high
    assert (found.n, found.n_missing) == (299, 1)
    with pytest.raises(DataError, match="300 and 299"):
        win_rate_difference(hard, hard[1:])


def test_gold_win_rate_counts_ties_half_and_leaves_unscored_rows_out() -> None:
    gold = np.array([1.0, 2.0, 0.0, NAN, 5.0])
    reference = np.array([0.0, 2.0, 1.0, 0.0, NAN])
    found = gold_win_rate(gold, reference, seed=0)
    assert found.value == pytest.approx(50)
    assert (found.n, found.n_missing, found.ties) == (3, 2, 1)


def items(n: int = 50) -> pd.DataFrame:
    rng = generator(0, "items")
    return pd.DataFrame(
        {
            "instruction_id": [str(i) for i in range(n)],
            "category": "sort",
            "output": "the hen",
            "stopped": True,
            "preference": rng.integers(0, 2, n).astype(float),
            "expectation": rng.random(n),
            "held_out": rng.random(n),
            "gold": [NAN if i % 5 == 0 else 1.0 + i % 2 for i in range(n)],
            "gold_reference": 1.5,
            "proxy": rng.normal(size=n),
            "length": 7,
            "length_reference": 7,
            "kl": [2.0 if i < 10 else NAN for i in range(n)],
        }
    )


def test_summary_states_every_rate_in_percent() -> None:
    table = items()
    table.loc[3, "preference"] = NAN
    found = summarize(table, seed=0)
    assert found["win_rate"] == pytest.approx(100 * table["preference"].mean())
    assert found["pool_preference"] == pytest.approx(100 * table["expectation"].mean())
    assert found["held_out_win_rate"] == pytest.approx(100 * table["held_out"].mean())
    assert found["gold_utility"] == pytest.approx(table["gold"].mean())
    assert found["gold_win_rate"] == pytest.approx(50)
    assert found["kl_to_start"] == 2
    assert found["mean_length"] == 7
    # At equal lengths the correction changes nothing.
    assert found["length_controlled_win_rate"] == pytest.approx(found["win_rate"], abs=0.01)
    assert (found["n"], found["no_verdict"]) == (50, 1)


def test_what_does_not_apply_is_null_not_zero() -> None:
    gone = ["expectation", "held_out", "gold", "gold_reference", "proxy", "kl"]
    found = summarize(items().assign(**dict.fromkeys(gone, None)), seed=0)
    nulls = {name for name, value in found.items() if value is None}
    assert nulls == {
        *(f"pool_preference{end}" for end in ("", "_low", "_high")),
        *(f"held_out_win_rate{end}" for end in ("", "_low", "_high")),
        *(f"gold_utility{end}" for end in ("", "_low", "_high")),
        *(f"gold_win_rate{end}" for end in ("", "_low", "_high")),
        "proxy_reward",
        "kl_to_start",
    }
    curve = curve_frame([{**found, "step": 1, "episodes": None}])
    assert tuple(curve.columns[: len(CURVE_COLUMNS)]) == CURVE_COLUMNS
    assert curve["gold_utility"].isna().all()
    assert (curve.dtypes == "float64").all()


def test_final_frame_keeps_names_and_intervals() -> None:
    row = {**summarize(items(), seed=0), "name": "last (step 3)", "role": "last", "step": 3}
    frame = final_frame([row])
    assert frame.loc[0, "name"] == "last (step 3)"
    assert frame.loc[0, "gold_win_rate_low"] < 50 < frame.loc[0, "gold_win_rate_high"]
