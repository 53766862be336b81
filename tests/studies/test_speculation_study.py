"""What the report of speculative sampling says, on made-up figures."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from fake_speculation import SAVED, measured, study
from rich.console import Console
from scipy.stats import t

from farm.errors import ConfigError
from farm.reporting.speculation_page import print_speculation, summary, write_speculation
from farm.studies.speculation_job import dialled
from farm.studies.speculation_study import RuleSettings, SpeculationStudy
from farm.studies.speculation_tables import ORACLE, speculation_tables


def test_points_are_means_over_seeds_with_students_interval() -> None:
    of = measured()
    rows = of.settings.query("rule == 'head' and value == 2")
    rates = (rows["discarded"] / rows["generated"]).to_numpy()
    low, high = t.interval(0.95, 4, rates.mean(), rates.std(ddof=1) / np.sqrt(5))
    points = speculation_tables(of, study())["points"].set_index(["rule", "value"])
    row = points.loc[("head", 2.0)]
    assert (
        row["discard_rate"],
        row["discard_rate_low"],
        row["discard_rate_high"],
    ) == pytest.approx((rates.mean(), low, high))
    assert row["verification_rate"] == 0.4
    assert row["excess"] == pytest.approx(rates.mean() * (1 - 1 / SAVED["head"]), abs=2e-3)
    assert points.loc[("fixed", 2.0), "excess"] == pytest.approx(0)


def test_the_oracle_discards_one_token_of_a_rejected_round() -> None:
    points = speculation_tables(measured(), study())["points"]
    oracle = points[points["rule"] == ORACLE].set_index("value")
    assert oracle["discard_rate"].tolist() == pytest.approx([0.09, 0.09, 0.09], abs=0.01)
    assert oracle["verification_rate"].tolist() == [0.5, 0.4, 0.3]


def test_settings_are_chosen_on_other_seeds_and_gains_are_paired() -> None:
    of = measured()
    tables = speculation_tables(of, study())
    speedups = tables["speedups"].set_index(["rule", "ratio"])["speedup"]
    # At 1:10 the fewest passes are best: 10 * 1000 / (drafted + 10 * 300) on every seed.
    last = of.settings.query("rule == 'head' and value == 4")
    expected = (10_000 / (last["drafted"] + 3000)).mean()
    assert speedups[("head", 10.0)] == pytest.approx(expected)
    gains = tables["gains"].set_index(["rule", "ratio"])
    theirs = of.settings.query("rule == 'fixed' and value == 4")
    ratio = (theirs["drafted"].to_numpy() + 3000) / (last["drafted"].to_numpy() + 3000)
    assert gains.loc[("head", 10.0), "gain"] == pytest.approx(100 * (ratio - 1).mean())
    assert (gains.loc["head", "gain_low"] > 0).all()
    assert (gains.loc["<b>odd</b>", "gain_high"] < 0).all()


def test_estimates_are_those_of_the_laxest_setting() -> None:
    estimates = speculation_tables(measured(), study())["estimates"].set_index("rule")
    assert list(estimates.index) == ["head", "<b>odd</b>"]
    assert estimates["auroc"].tolist() == pytest.approx([0.74, 0.74])


def test_the_summary_says_who_is_faster() -> None:
    law, frontier, first, _, foreseen = summary(speculation_tables(measured(), study()), "fixed")
    assert "45 chi-square tests" in law and "0 have p" in law
    assert re.search(r"head -0\.05\d .*odd</b> 0\.05\d .*oracle -0\.\d+", frontier)
    assert "faster: head (" in first and "slower: <b>odd</b> (" in first
    assert "0.740" in foreseen


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_the_report_is_written_and_names_are_data(seeds: tuple[int, ...], tmp_path: Path) -> None:
    tables = speculation_tables(measured(seeds), study(seeds))
    page, text = write_speculation(tmp_path, tables, "fixed")
    html, markdown = page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")
    assert "<b>odd</b>" not in html and "&lt;b&gt;odd&lt;/b&gt;" in html
    assert r"\<b\>odd\</b\>" in markdown
    written = {path.name for path in tmp_path.iterdir()}
    assert {"points.csv", "speedups.csv", "pareto.png", "reliability.png"} <= written
    console = Console(file=io.StringIO(), width=80)
    print_speculation(tables, "fixed", console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in printed.splitlines())


def test_a_value_is_dialled_where_the_key_stands() -> None:
    config = {"decoding": {"stop": {"max_tokens": 1, "other": 2}, "draft": None}, "seed": 3}
    found = dialled(config, "decoding.stop.max_tokens", 7)
    assert found == {"decoding": {"stop": {"max_tokens": 7, "other": 2}, "draft": None}, "seed": 3}
    assert config["decoding"]["stop"]["max_tokens"] == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "fixd"}, "Did you mean fixed"),
        ({"seeds": (1, 1)}, "study.seeds"),
        ({"cost_ratios": []}, "study.cost_ratios"),
        ({"rules": {"fixed": RuleSettings([], "method.n", [1])}}, "a key of decoding"),
        ({"rules": {"fixed": RuleSettings([], "decoding.threshold", [])}}, "study.rules.fixed"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SpeculationStudy(**{**vars(study()), **change})  # type: ignore[arg-type]
