"""Gaps of made-up curves, who is told apart from the baseline, and what the report says of it."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_stability import BASELINE, DEPTHS, SOURCES, fall, measured, study
from rich.console import Console

from farm.errors import ConfigError
from farm.reporting.stability_page import print_stability, summary, write_stability
from farm.stages.skills import check_scored
from farm.studies.stability_study import StabilityStudy
from farm.studies.stability_tables import stability_tables

SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    of = measured()
    of.skills.sort_values("score", inplace=True)  # the order of the rows says nothing
    return stability_tables(of, BASELINE)


def test_gaps_are_those_of_the_curves(tables: dict[str, pd.DataFrame]) -> None:
    gaps = tables["gaps"].set_index(["variant", "source"])
    for name in DEPTHS:
        row = gaps.loc[(name, "harbour")]
        depth = -100 * np.mean([fall(seed, name) for seed in SEEDS])
        assert row["depth"] == pytest.approx(depth)
        assert row["bottom"] == 10
        back = not name.startswith("<")
        assert row["recovered"] == 100 * back
        assert row["recovery"] == pytest.approx(20) if back else np.isnan(row["recovery"])
        if back:
            assert row["area"] == pytest.approx(-depth * 20 / 2)
            assert row["end"] == pytest.approx(row["start"])


def test_differences_are_paired_by_seed(tables: dict[str, pd.DataFrame]) -> None:
    found = tables["differences"].set_index(["variant", "source", "figure"])
    for source in SOURCES:
        row = found.loc[("spared", source, "depth")]
        gains = [100 * (fall(seed, BASELINE) - fall(seed, "spared")) for seed in SEEDS]
        assert row["difference"] == pytest.approx(np.mean(gains))
        assert row["difference_low"] > 20 and row["adjusted"] < 0.01
        assert found.loc[("twin", source, "depth"), "difference"] == 0


def test_blocks_are_compared_and_step_0_has_moved_nowhere(tables: dict[str, pd.DataFrame]) -> None:
    readings = tables["readings"].set_index(["variant", "step"])
    assert readings.loc[("all", 10), "bottom_to_top"] == pytest.approx(1.5)
    assert np.isnan(readings.loc[("all", 0), "bottom_to_top"])


def test_the_summary_says_who_falls_and_who_is_spared(tables: dict[str, pd.DataFrame]) -> None:
    barnyard, harbour, text, blocks = summary(tables, BASELINE)
    assert harbour.startswith("harbour: all falls from ") and "around step 10) by -3" in harbour
    assert "comes back in 100 % of the seeds" in barnyard
    less_deep = barnyard.partition("less deep: ")[2].partition(";")[0]
    assert "spared (2" in less_deep and "odd" in less_deep and "twin" not in less_deep
    assert barnyard.endswith("higher at the end: none.")
    assert "falls all along" in text and "from 3.00 to 1.50" in text
    assert "1.50" in blocks


def test_the_report_is_written_and_names_are_data(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    page, text = write_stability(tmp_path, tables, BASELINE)
    html, markdown = page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")
    assert "<b>odd</b>" not in html and "&lt;b&gt;odd&lt;/b&gt; | name" in html
    assert r"\<b\>odd\</b\> \| name" in markdown
    assert {"gaps.csv", "differences.csv", "curves.csv", "readings.csv", "curves.png"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_one_seed_is_reported_too(tmp_path: Path) -> None:
    tables = stability_tables(measured((1,)), BASELINE)
    write_stability(tmp_path, tables, BASELINE)
    console = Console(file=io.StringIO(), width=100)
    print_stability(tables, BASELINE, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "shows no gap that the seeds agree on" in said.replace("\n", " ")
    assert not any(" nan" in line.lower() for line in said.splitlines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "al"}, "Did you mean all"),
        ({"seeds": (1, 1)}, "study.seeds"),
        ({"variants": {"all": ["a=1"]}}, "two or more"),
        ({"temperature": -1.0}, "study.temperature"),
        ({"blocks": 0}, "study.blocks"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        StabilityStudy(**{**vars(study()), **change})  # type: ignore[arg-type]


def test_a_scorer_that_knows_none_of_a_domain_is_named() -> None:
    items = pd.DataFrame({"source": ["a", "a", "b"], "score": [1.0, np.nan, 0.0]})
    check_scored(items)
    with pytest.raises(ConfigError, match=r"study\.score: .* from b"):
        check_scored(items.assign(score=[1.0, 0.0, np.nan]))
