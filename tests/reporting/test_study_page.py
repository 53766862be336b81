"""The page of a study says what its tables say, and is safe to open."""

import io
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_studies import PEOPLE, POOL, SINGLE, measured, study, study_tables_once
from rich.console import Console

from farm.evaluation.variance import Components
from farm.reporting.study_layouts import judges, side_by_side
from farm.reporting.study_page import print_plan, print_study, write_study
from farm.reporting.study_words import summary
from farm.studies.plan import Bill, plan_table
from farm.studies.tables import Tables, study_tables

HOSTILE = "<b>people</b>"


@pytest.fixture
def tables() -> Tables:
    return study_tables_once()


@pytest.fixture(scope="module")
def small() -> Tables:
    """One seed, no bias, no gold."""
    of = study(seeds=(1,), doses=())
    rows = measured(of, instructions=20)
    for frame in vars(rows).values():
        frame["gold"] = np.nan
    return study_tables(rows, of)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study")
    renamed = {
        name: frame.replace({PEOPLE: HOSTILE}) for name, frame in study_tables_once().items()
    }
    write_study(path, renamed, human=HOSTILE)
    return path


def told(tables: Tables) -> str:
    return " ".join(" ".join(paragraphs) for paragraphs in summary(tables, PEOPLE).values())


def test_every_table_comes_back_from_its_file(tables: Tables, folder: Path) -> None:
    for name, frame in tables.items():
        read = pd.read_csv(folder / f"{name}.csv")
        assert list(read.columns) == list(frame.columns)
        assert len(read) == len(frame)
    for name in ("ranking", "dose_response", "overoptimization", "failures"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_page_needs_no_other_file_and_takes_no_name_for_markup(folder: Path) -> None:
    page = (folder / "study.html").read_text()
    assert HOSTILE not in page
    assert "&lt;b&gt;people&lt;/b&gt;" in page
    assert not re.search(r"<script|https?://|@import", page)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert page.count("<svg") == 4
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_summary_says_what_agrees_and_what_does_not(tables: Tables) -> None:
    text = told(tables)
    assert "pool's ranking of the 6 policies agrees with people's with Spearman 1.00" in text
    assert re.search(r"single's ranking of the 6 policies agrees .* Spearman -\d", text)
    assert text.count("not replicated here") == 1, "the single judge's ranking is upside down"
    assert "pool and people both place strong at 100% first" in text
    assert "people places strong at 100% first; single places" not in text, "one simulation placed"


def test_summary_counts_turns_by_annotators(tables: Tables) -> None:
    text = told(tables)
    assert "turns over in 3 of 3 seeds with pool's labels (peak minus end 1.00" in text
    assert "in 0 of 3 seeds with single's labels" in text
    assert "With the labels of single and people no over-optimisation is shown" in text


def test_pairs_are_counted_as_the_comparisons_say(tables: Tables) -> None:
    wide = tables["comparisons"].pivot(index=["first", "second"], columns="annotators")
    claims = wide["adjusted"] < 0.05
    both = claims[POOL] & claims[PEOPLE]
    alike = np.sign(wide["difference"][POOL]) == np.sign(wide["difference"][PEOPLE])
    text = told(tables)
    assert f"people tells {claims[PEOPLE].sum()} of 15 pairs of policies apart" in text
    assert f"{POOL} tells {claims[POOL].sum()} apart: {(both & alike).sum()} of those" in text
    assert f"{(both & ~alike).sum()} the other way round" in text
    assert f"and {(claims[POOL] & ~claims[PEOPLE]).sum()} that people does not" in text


def test_what_a_study_has_not_is_said_and_left_out(small: Tables, tmp_path: Path) -> None:
    text = told(small)
    for sentence in (
        "There is one seed",
        "No bias was dialled",
        "nothing can be said of over-optimisation",
    ):
        assert sentence in text
    write_study(tmp_path, small, human=PEOPLE)
    page = (tmp_path / "study.html").read_text()
    assert page.count("<svg") == 1
    assert not re.search(r"\bnan\b", re.sub("<[^>]*>", " ", page), re.IGNORECASE)
    print_study(small, Console(file=io.StringIO()))


def test_judges_that_always_agree_are_one_and_biased_ones_are_none(tables: Tables) -> None:
    shown = judges(tables["win_rates"], tables["dose_response"])
    assert shown == {POOL: "pool = people = held out", SINGLE: "single", "gold": "gold"}


def test_side_by_side_keeps_order_and_intervals() -> None:
    rows = [("b", "x", 1.0, 0.5), ("b", "y", 2.0, 1.5), ("a", "x", 3.0, 2.5)]
    frame = pd.DataFrame(rows, columns=["row", "side", "value", "value_low"])
    wide = side_by_side(frame, ["row"], "side", ["value"])
    assert wide["row"].tolist() == ["b", "a"]
    assert wide["x value"].tolist() == [1.0, 3.0]
    assert wide["x value_low"].tolist() == [0.5, 2.5]
    assert wide["y value"].isna().tolist() == [False, True]


def test_terminal_shows_correlations_ranks_and_turns_in_80_characters(tables: Tables) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_study(tables, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in text.splitlines())
    for line in (
        r"pool +end to end +1\.00 +1\.00",
        r"strong at 100% .* 1 +1 *\n",
        r"pool +3 of 3 +1\.000",
    ):
        assert re.search(line, text)


def plan(components: Components, usd: float | None) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    bill = Bill(labels_per_seed=1000, usd_per_label=usd, usd_per_verdict=usd, policies=4)
    print_plan(components, plan_table(components, bill, [1.0]), console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_plan_says_where_no_instructions_and_no_price_suffice() -> None:
    variances = {"seed": 4.0, "instruction": 100.0, "residual": 900.0}
    text = plan(Components(variances, {"seed": 2, "instruction": 50, "residual": 100}), None)
    assert "2 seeds and 50 instructions" in " ".join(text.split())
    assert f"{math.sqrt(900):.1f} points in what only one seed" in " ".join(text.split())
    assert re.search(r"1\.0 +1 +3 +no number is enough", text)
    assert re.search(r"1\.0 +1 +40 +[\d,]+ +40,000 +price not known", text)
    assert re.search(r"1\.0 +6 +3 ", text), "all six pairs claimed at once"


def test_plan_adds_up_dollars() -> None:
    variances = {"seed": 0.0, "instruction": 0.0, "residual": 100.0}
    text = plan(Components(variances, {"seed": 2, "instruction": 50, "residual": 100}), 0.01)
    found = re.search(r"1\.0 +1 +40 +(\d+) +40,000 +\$([\d,.]+)", text)
    assert found
    dollars = 0.01 * (40_000 + 40 * int(found[1]) * 4)
    assert float(found[2].replace(",", "")) == pytest.approx(dollars)


def test_controls_are_told_by_what_they_reach(tables: Tables) -> None:
    assert "no policy lies above 50 by more than its interval" in told(tables)
    winning = tables["win_rates"][tables["win_rates"]["policy"] == "strong at 100%"]
    failing = winning[winning["annotators"] == PEOPLE].assign(annotators="shuffled")
    assert "this control fails" in told({**tables, "controls": failing})
    assert "no control" in told({**tables, "controls": pd.DataFrame()})
