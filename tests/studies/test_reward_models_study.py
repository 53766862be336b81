"""Who is told apart from the baseline, and what the report says of it, on made-up figures."""

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_reward_models import BASELINE, BETTER, measured, study
from rich.console import Console
from scipy.stats import t, ttest_rel

from farm.errors import ConfigError
from farm.evaluation.reward_figures import LABELS
from farm.reporting.reward_model_page import (
    print_reward_models,
    summary,
    write_reward_models,
)
from farm.studies.over_seeds import differences
from farm.studies.reward_model_study import RewardModelStudy
from farm.studies.reward_model_tables import COMPARED, reward_model_tables


def against_plain(figures: pd.DataFrame) -> pd.DataFrame:
    return differences(figures, BASELINE, ["labels"], COMPARED)


def accuracy_of(figures: pd.DataFrame, variant: str, labels: str) -> np.ndarray:
    rows = figures[(figures["variant"] == variant) & (figures["labels"] == labels)]
    return rows.sort_values("seed")["accuracy"].to_numpy()


def test_differences_are_paired_by_seed_with_students_interval() -> None:
    figures = measured().figures
    shuffled = figures.iloc[::-1]  # the order of the rows says nothing
    found = against_plain(shuffled).set_index(["variant", "labels", "figure"])
    for labels in LABELS:
        good, plain = (accuracy_of(figures, name, labels) for name in ("good", BASELINE))
        test, row = ttest_rel(good, plain), found.loc[("good", labels, "accuracy")]
        ends = test.confidence_interval()
        assert row["difference"] == pytest.approx((good - plain).mean())
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(tuple(ends))
        assert row["p_value"] == pytest.approx(test.pvalue)


def test_p_values_are_adjusted_among_the_variants() -> None:
    found = against_plain(measured().figures)
    rows = found[(found["labels"] == "gold") & (found["figure"] == "accuracy")]
    others = len(BETTER) - 1
    assert len(rows) == others
    smallest = rows["p_value"].min()
    assert rows["adjusted"].min() == pytest.approx(others * smallest)
    told = set(rows.loc[rows["adjusted"] < 0.05, "variant"])
    assert told == {"good", "bad"}


def test_an_equal_model_does_not_differ() -> None:
    found = against_plain(measured().figures)
    twin = found[found["variant"] == "twin"]
    assert (twin["difference"] == 0).all()
    assert (twin["adjusted"] == 1).all()


def test_means_have_intervals_over_seeds() -> None:
    of = measured()
    found = reward_model_tables(of, study())["reward_models"].set_index(["variant", "labels"])
    values = accuracy_of(of.figures, "bad", "noisy")
    low, high = t.interval(0.95, 4, values.mean(), values.std(ddof=1) / math.sqrt(5))
    row = found.loc[("bad", "noisy")]
    assert (row["accuracy"], row["accuracy_low"], row["accuracy_high"]) == pytest.approx(
        (values.mean(), low, high)
    )


def test_the_summary_says_who_is_better_and_who_is_worse() -> None:
    of_clean, _, of_gold, scores = summary(reward_model_tables(measured(), study()), BASELINE)
    assert of_clean.startswith("On clean labels the most accurate is good with")
    assert "Told apart from plain" in of_gold
    assert "more accurate is good (" in of_gold
    assert "less accurate is bad (" in of_gold
    assert "twin" not in of_gold
    assert "no log-odds" in scores


def test_the_report_is_written_and_names_are_data(tmp_path: Path) -> None:
    tables = reward_model_tables(measured(), study())
    page, text = write_reward_models(tmp_path, tables, BASELINE)
    html, markdown = page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")
    assert "<b>odd</b>" not in html and "&lt;b&gt;odd&lt;/b&gt; | name" in html
    assert "annotators without noise" in html
    assert r"\<b\>odd\</b\> \| name" in markdown
    assert {"reward_models.csv", "differences.csv", "costs.csv", "differences.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    means = tables["reward_models"].set_index(["variant", "labels"])
    assert f"{means.loc[('good', 'gold'), 'accuracy']:.1f}" in markdown


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_few_seeds_and_no_gold_are_reported_too(seeds: tuple[int, ...], tmp_path: Path) -> None:
    tables = reward_model_tables(measured(seeds, has_gold=False), study(seeds))
    write_reward_models(tmp_path, tables, BASELINE)
    console = Console(file=io.StringIO(), width=80)
    print_reward_models(tables, BASELINE, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\N{EN DASH}" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert len(list(summary(tables, BASELINE))) == 3  # clean, noisy, what scores mean


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "plian"}, "Did you mean plain"),
        ({"seeds": (1, 1)}, "study.seeds"),
        ({"variants": {"plain": ["a=1"]}}, "two or more"),
        ({"variants": {"plain": ["a=1"], "same": ["a=1"]}}, "the same"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RewardModelStudy(**{**vars(study()), **change})  # type: ignore[arg-type]
