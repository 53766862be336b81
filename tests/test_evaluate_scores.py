"""The figures of one side, by hand."""

import numpy as np
import pandas as pd
import pytest

from farm.seeds import generator
from farm.standalone.scores import leaderboard_row


def items(preference: list[float], **columns: object) -> pd.DataFrame:
    n = len(preference)
    base = {
        "instruction_id": [str(i) for i in range(n)],
        "output": ["x" * (3 + i % 5) for i in range(n)],
        "preference": preference,
        "gold": np.nan,
        "gold_reference": np.nan,
        "length_reference": 5,
    }
    frame = pd.DataFrame({**base, **columns})
    return frame.assign(length=frame["output"].str.len())


def test_rates_counts_and_lengths() -> None:
    frame = items([1.0, 0.5, 0.0, 0.7, np.nan], output=["abc", "", "  ", "abcdef", "abc"])
    row = leaderboard_row(frame, cost_usd=0.25, seed=0)
    assert row["win_rate"] == pytest.approx(55)
    assert row["standard_error"] == pytest.approx(100 * np.std([1, 0.5, 0, 0.7], ddof=1) / 2)
    assert row["discrete_win_rate"] == pytest.approx(100 * 2.5 / 4)
    assert (row["n"], row["n_missing"], row["n_empty"]) == (4, 1, 2)
    assert row["mean_length"] == pytest.approx(14 / 5)
    assert row["cost_usd"] == 0.25
    assert np.isnan(row["gold_win_rate"])


def test_gold_counts_ties_half() -> None:
    frame = items([0.5] * 4, gold=[1, 2, 3, 3], gold_reference=[2, 2, 2, 2])
    assert leaderboard_row(frame, cost_usd=None, seed=0)["gold_win_rate"] == pytest.approx(62.5)


def test_a_taste_for_length_is_taken_out() -> None:
    """A judge who looks at length alone, of answers that are longer: at equal length a tie."""
    rng = generator(0, "lengths")
    lengths = rng.integers(1, 400, 2000)
    difference = 200 - lengths
    p_longer = 1 / (1 + np.exp(2 * np.tanh(difference / difference.std(ddof=1))))
    preference = (rng.random(2000) < p_longer).astype(float)
    longer = lengths > 120
    frame = items(
        preference.tolist(), output=["x" * n for n in lengths], length_reference=200
    )[longer]  # fmt: skip
    row = leaderboard_row(frame, cost_usd=None, seed=0)
    assert row["win_rate"] > 60
    assert row["length_controlled_win_rate_low"] < 50 < row["length_controlled_win_rate_high"]
    assert row["length_controlled_identified"]


def test_verdicts_that_length_decides_have_no_controlled_interval() -> None:
    outputs = ["x" * n for n in (1, 2, 8, 9)]
    row = leaderboard_row(items([0.0, 0.0, 1.0, 1.0], output=outputs), cost_usd=0.0, seed=0)
    assert not row["length_controlled_identified"]
    assert np.isnan(row["length_controlled_win_rate_low"])
