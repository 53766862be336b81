import io
from pathlib import Path

import pandas as pd
import pytest
from fake_runs import write_run
from rich.console import Console

from farm.reporting.formats import duration, interval, number
from farm.reporting.loading import Run, load_run
from farm.reporting.tables import print_tables


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(write_run(tmp_path_factory.mktemp("runs") / "run"))


def printed(run: Run, **how: object) -> str:
    console = Console(file=io.StringIO(), **how)  # type: ignore[arg-type]
    print_tables(run, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_terminal_shows_rates_with_intervals_and_the_bill(run: Run) -> None:
    text = printed(run, width=80)
    selected = run.final.set_index("role").loc["selected"]
    for column in ("pool_preference", "held_out_win_rate", "gold_win_rate"):
        assert f"{selected[column]:.1f} " in text
        low, high = selected[f"{column}_low"], selected[f"{column}_high"]
        assert f"{low:.1f}\u2013{high:.1f}" in text, "intervals are whole at 80 characters"
    for told in ("Gold utility", "KL", "Length", "22,000 labels", "cost $0.00", "2 min 59 s"):
        assert told in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_reused_stages_are_said_and_summed_by_kind(run: Run) -> None:
    lines = {line.split("  ")[0].strip(): line for line in printed(run, width=80).splitlines()}
    assert "reused" in lines["sft"]
    assert "1 min 10 s" in lines["reward"]
    assert "4.0 s" in lines["answers to evaluate"]
    assert "2 built, 0 reused" in lines["answers to evaluate"]


def test_pipes_and_no_color_get_no_escapes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in printed(run)
    assert "\x1b[" in printed(run, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(run, force_terminal=True).replace("\x1b[3m", "")


def test_names_are_not_markup(run: Run) -> None:
    final = run.final.assign(name="[red]x[/red]")
    text = printed(Run(**{**vars(run), "final": final}), width=80)
    assert "[red]x[/red]" in text


def test_judges_that_are_no_programs_show_the_estimate_and_a_dash(run: Run, tmp_path: Path) -> None:
    no_program = run.final.assign(pool_preference=None, held_out_win_rate=None)
    text = printed(Run(**{**vars(run), "final": no_program}), width=100)
    assert "One annotator" in text
    selected = next(line for line in text.splitlines() if line.strip().startswith("selected"))
    assert "\u2013" in selected.split()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.97, "10 s"), (59.6, "1 min 00 s"),
     (185, "3 min 05 s"), (7470, "2 h 04 min")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers() -> None:
    assert number(None) == number(float("nan")) == number(pd.NA) == "\u2013"
    assert number(-0.004, 2) == "0.00"
    assert number(22000, 0) == "22,000"
    row = {"x": 1.0, "x_low": -2.0, "x_high": -1.0, "y": 3.0}
    assert interval(row, "x") == "-2.0 to -1.0"
    assert interval(row, "y") == ""
