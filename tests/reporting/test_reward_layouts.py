"""How good a run's reward is stands in its report and in the terminal."""

import io
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_run
from rich.console import Console

from farm.evaluation.reward_figures import FIGURES
from farm.reporting.loading import Run, load_run
from farm.reporting.report import render
from farm.reporting.tables import print_tables

KINDS = {"mean": 71.5, "section": 72.5, "category": 73.5}


def _quality(labels: str, accuracy: float | None) -> dict[str, Any]:
    """As run.json has it: None is what is not known."""
    values = {"accuracy": accuracy, "annotators": accuracy, **dict.fromkeys(FIGURES[2:], -0.123)}
    low, high = ({f"{name}_{end}": v for name, v in values.items()} for end in ("low", "high"))
    return {"labels": labels, "pairs": 487, **values, **low, **high}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    found = load_run(write_run(tmp_path_factory.mktemp("runs") / "run"))
    reward = {
        "validation": {"accuracy": 0.734},
        "quality": [_quality("clean", 76.5), _quality("noisy", 61.5), _quality("gold", None)],
        "bench": [{"kind": kind, "part": f"a {kind}", "accuracy": value}
                  for kind, value in KINDS.items()],
    }  # fmt: skip
    return Run(**{**vars(found), "info": {**found.info, "reward_model": reward}})


def printed(run: Run) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_tables(run, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_terminal_shows_labels_and_sections_in_80_characters(run: Run) -> None:
    text = printed(run)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "487 pairs" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.split()}
    assert rows["clean"][1:3] == ["76.5", "76.5"]
    assert rows["gold"][1] == "\N{EN DASH}"
    assert "72.5" in text and "73.5" not in text


def test_report_shows_everything_and_what_scores_mean(run: Run) -> None:
    page = render(run)
    for told in ("76.5", "61.5", *map(str, KINDS.values()), "no log-odds", "487", "0.734"):
        assert told in page
    without = {**vars(run), "info": {**run.info, "reward_model": None}}
    assert "Brier" not in render(Run(**without))


def test_runs_that_are_older_than_the_measure_are_still_shown(tmp_path: Path) -> None:
    old = load_run(write_run(tmp_path / "run"))
    assert "Reward model: validation accuracy 0.734" in render(old)
    assert "Brier" not in printed(old)
