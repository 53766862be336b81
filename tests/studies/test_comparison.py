"""A comparison of made-up policies whose order is known, and what keeps one fair."""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_comparisons import QUALITY, TRIALS, compared
from rich.console import Console

from farm.artifacts import Store
from farm.builder import Finder
from farm.errors import ConfigError
from farm.evaluation.length_control import length_controlled_win_rate
from farm.reporting.comparison_page import (
    markdown,
    print_comparison,
    summary,
    write_comparison,
)
from farm.studies.comparison_study import ComparisonStudy
from farm.studies.comparison_tables import RATES, comparison_tables, values, with_verdicts
from farm.studies.trials import Trials, winners

HOSTILE = "<b>good</b>|x"


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return comparison_tables(compared())


@pytest.fixture(scope="module")
def table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return tables["comparison"].set_index("policy")


# ------------------------------------------------------------------------------------- tables


def test_learned_policies_come_first_and_the_pools_best_before_others(table: pd.DataFrame) -> None:
    assert list(table.index) == ["good", "middling", "bad", "start"]
    assert table["letters"].tolist() == ["a", "b", "d", "c"], "all are far apart"
    assert table["reference_of"].tolist() == [0, 0, 0, 3]


@pytest.mark.parametrize(
    ("rate", "of_answers"),
    [
        ("pool", lambda rows: rows["expectation"]),
        ("held_out", lambda rows: rows["held_out"]),
        ("gold", lambda rows: (rows["gold"] > 0) + 0.5 * (rows["gold"] == 0)),
    ],
)
def test_rates_are_means_in_percent_inside_their_intervals(
    table: pd.DataFrame, rate: str, of_answers: Callable[[pd.DataFrame], "pd.Series[float]"]
) -> None:
    for policy, rows in compared().answers.groupby("policy"):
        row = table.loc[str(policy)]
        assert row[rate] == pytest.approx(100 * of_answers(rows).mean())
        assert row[f"{rate}_low"] <= row[rate] <= row[f"{rate}_high"]
    assert table.loc["start", [f"{rate}_low", rate, f"{rate}_high"]].tolist() == [50.0] * 3


def test_the_length_controlled_rate_is_the_mean_of_the_seeds(table: pd.DataFrame) -> None:
    for policy, rows in compared().answers.groupby("policy"):
        by_seed = [
            length_controlled_win_rate(
                of.rename(columns={"length_reference": "length_baseline", "length": "length_model"})
                .assign(preference=of["expectation"])
            ).value
            for _, of in rows.groupby("seed")
        ]  # fmt: skip
        assert table.loc[str(policy), "length_controlled"] == pytest.approx(np.mean(by_seed))
    width = table["length_controlled_high"] - table["length_controlled_low"]
    assert (width.drop("start") > 1).all() and width["start"] == 0


def test_where_the_pool_is_no_program_its_verdicts_count() -> None:
    rows = compared()
    rows.answers["expectation"] = np.nan
    rows.answers["gold"] = np.nan
    table = comparison_tables(rows)["comparison"].set_index("policy")
    good = rows.answers[rows.answers["policy"] == "good"]
    assert table.loc["good", "pool"] == pytest.approx(100 * good["preference"].mean())
    assert table["gold"].isna().all() and table["gold_low"].isna().all()
    assert not re.search(r"\bnan\b", markdown(table.reset_index()), re.IGNORECASE)


def test_values_are_seeds_by_instructions_whatever_the_order_of_rows() -> None:
    answers = with_verdicts(compared().answers)
    found, shuffled = (
        values(answers, "pool"),
        values(answers.sample(frac=1, random_state=0), "pool"),
    )
    assert set(found) == set(QUALITY)
    for policy, values_S_N in found.items():
        assert values_S_N.shape == (3, 60)
        np.testing.assert_array_equal(values_S_N, shuffled[policy])


def test_costs_are_means_over_seeds(table: pd.DataFrame) -> None:
    costs = ["judgments", "prompts", "flops", "wall_s", "drawn"]
    assert table.loc["good", costs].tolist() == [8000, 4000, 2e12, 30, 16]
    assert table.loc["start", costs].tolist() == [0, 0, 0, 0, 1]


def test_one_seed_is_enough() -> None:
    table = comparison_tables(compared(seeds=(1,)))["comparison"]
    assert table[list(RATES)].notna().all().all()


# -------------------------------------------------------------------------------------- trials


def test_the_trial_with_the_highest_mean_wins_and_the_first_of_equal_ones() -> None:
    tuned = compared().trials
    assert winners(tuned) == {"good": 2, "middling": 1, "bad": 1}
    other = tuned.assign(seed=8, win_rate=tuned["win_rate"] + 20 * (tuned["trial"] == 1))
    assert winners(pd.concat([tuned, other]))["good"] == 1


class FakeRuns:
    """Composes a method's node and nothing else."""

    choices = ("dpo", "merge", "ppo", "sft")

    def methods(
        self, asked: Sequence[str] | None, needs: frozenset[str], without: frozenset[str]
    ) -> list[str]:
        return list(asked or ("dpo", "ppo", "sft"))

    def check_methods(self, key: str, names: Iterable[str]) -> None:
        assert set(names) <= set(self.choices)

    def compose(self, overrides: Sequence[str]) -> Mapping[str, Any]:
        if "method.wrong=1" in overrides:
            raise ConfigError("method.wrong: there is no such key.")
        return {}


def study(**keys: Any) -> ComparisonStudy:
    defaults: dict[str, Any] = {"seeds": [1, 2], "tuning_seeds": [9], "methods": None, "trials": {}}
    return ComparisonStudy(**{**defaults, **keys})


def trials(tmp_path: Path, **of_method: Sequence[Sequence[str]]) -> Trials:
    runs: Any = FakeRuns()
    return Trials(study(trials=of_method), runs, Finder(Store(tmp_path)), say=lambda _: None)


TWO = [[], ["method.beta=1"]]


def test_all_methods_have_as_many_trials_or_the_odd_ones_are_named(tmp_path: Path) -> None:
    equal = trials(tmp_path, dpo=TWO, ppo=TWO, sft=TWO)
    assert [trial.settings for trial in equal.all] == ["as its yaml says", "beta=1"] * 3
    with pytest.raises(ConfigError, match="Most have 2, but sft has 0"):
        trials(tmp_path, dpo=TWO, ppo=TWO)
    with pytest.raises(ConfigError, match="Most have 2, but ppo has 1"):
        trials(tmp_path, dpo=TWO, ppo=[[]], sft=TWO)
    with pytest.raises(ConfigError, match="dpo, ppo, sft have none"):
        trials(tmp_path)


def test_a_trial_that_does_not_compose_is_named(tmp_path: Path) -> None:
    wrong = trials(tmp_path, dpo=[["method.wrong=1"]], ppo=[[]], sft=[[]])
    with pytest.raises(ConfigError, match=r"no such key.*trial 1 of study\.trials\.dpo"):
        wrong.check()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"seeds": [1, 1]}, "study.seeds"),
        ({"tuning_seeds": []}, "study.tuning_seeds"),
        ({"tuning_seeds": [2]}, r"study.tuning_seeds: \[2\] are also in study.seeds"),
        ({"methods": []}, "study.methods"),
        ({"methods": ["dpo", "dpo"]}, "study.methods"),
        ({"trials": {"dpo": [["pairs.instructions=9"]]}}, "pairs.instructions=9 is no key of"),
        ({"trials": {"dpo": [["method.beta=1"]] * 2}}, "two trials are the same"),
    ],
)
def test_what_would_make_it_unfair_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        study(**keys)


# -------------------------------------------------------------------------------------- report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison")
    hostile = {
        name: frame.replace({"good": HOSTILE})
        for name, frame in comparison_tables(compared()).items()
    }
    write_comparison(path, hostile)
    return path


def test_page_needs_no_other_file_and_takes_no_name_for_markup(folder: Path) -> None:
    page = (folder / "comparison.html").read_text()
    assert "<b>good" not in page and "&lt;b&gt;good" in page
    assert not re.search(r"<script|https?://|@import", page)
    assert page.count("<svg") == 1
    assert (folder / "win_rates.png").read_bytes().startswith(b"\x89PNG")
    for method, rates in TRIALS.items():
        assert (method == "good") or all(f"{rate:.1f}" in page for rate in rates)


def test_markdown_is_one_table_with_a_row_per_policy(folder: Path) -> None:
    text = (folder / "comparison.md").read_text()
    assert "over 3 seeds" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(QUALITY)
    cells = [re.split(r"(?<!\\)\|", row) for row in rows]
    assert {len(row) for row in cells} == {len(cells[0])}
    assert r"\<b\>good\</b\>\|x" in rows[2]
    assert re.search(r"\| start \(reference\) \| c \| 50\.0 \[50\.0.50\.0\] \|", rows[-1])
    assert re.search(r"\| 8,000 \| 4,000 \| 2\.0 \| 30 \| 16 \|$", rows[2])


def test_terminal_shows_trials_rates_and_costs_in_80_characters(
    tables: dict[str, pd.DataFrame],
) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_comparison(tables, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in text.splitlines())
    assert re.search(r"good +key=2 +9 +yes +70\.0", text)
    assert re.search(r"good +a +\d\d\.\d", text)
    assert re.search(r"good +key=1 +8,000 +4,000 +2\.0 +30 +16", text)
    assert "…" not in text


def test_words_are_the_tables_own(tables: dict[str, pd.DataFrame]) -> None:
    text = " ".join(summary(tables))
    assert "By the pool good is best" in text and "told apart from all others" in text
    assert "2 of 3 methods lie above the reference" in text and "good and middling" in text
    assert "6 of 6 pairs" in text
    assert "Every method had 2 trials, on the seed 9" in text
    alike = tables["comparison"].assign(letters="a")
    assert "not told apart from middling and bad" in " ".join(
        summary({**tables, "comparison": alike})
    )
