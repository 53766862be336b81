"""Who is told apart from the baseline, at what memory, and what the report says of it."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_tunings import BASELINE, ending, measured, study
from rich.console import Console

from farm.errors import ConfigError
from farm.reporting.tuning_page import print_tunings, summary, write_tunings
from farm.studies.tuning_study import TuningStudy
from farm.studies.tuning_tables import tuning_tables

SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return tuning_tables(measured(), BASELINE)


def test_differences_are_paired_by_seed(tables: dict[str, pd.DataFrame]) -> None:
    found = tables["differences"].set_index(["variant", "figure"])
    gains = [ending(seed, "slow") - ending(seed, BASELINE) for seed in SEEDS]
    slow = found.loc[("slow", "loss")]
    assert slow["difference"] == pytest.approx(np.mean(gains))
    assert slow["difference_low"] > 0 and slow["adjusted"] < 0.01
    assert found.loc[("twin", "loss"), "difference"] == 0


def test_the_summary_has_memory_and_who_is_told_apart(tables: dict[str, pd.DataFrame]) -> None:
    memory, pool, gold = summary(tables, BASELINE)
    assert "twin 50 %" in memory and "slow 1 %" in memory and "odd</b> | name 100 %" in memory
    assert "slow (-" in pool and "odd" in pool and "twin" not in pool
    assert gold.endswith("none.")


def test_the_report_is_written_and_names_are_data(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    page, text = write_tunings(tmp_path, tables, BASELINE)
    html, markdown = page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")
    assert "<b>odd</b>" not in html and "&lt;b&gt;odd&lt;/b&gt; | name" in html
    assert r"\<b\>odd\</b\> \| name" in markdown
    assert {"losses.csv", "policies.csv", "differences.csv", "costs.csv", "losses.png"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_one_seed_is_reported_too(tmp_path: Path) -> None:
    tables = tuning_tables(measured((1,)), BASELINE)
    write_tunings(tmp_path, tables, BASELINE)
    console = Console(file=io.StringIO(), width=100)
    print_tunings(tables, BASELINE, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert not any(" nan" in line.lower() for line in said.splitlines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "ful"}, "Did you mean full"),
        ({"seeds": (1, 1)}, "study.seeds"),
        ({"variants": {"full": ["a=1"]}}, "two or more"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TuningStudy(**{**vars(study()), **change})  # type: ignore[arg-type]
