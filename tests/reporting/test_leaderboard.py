"""Names and answers are data in every format, and what is shown is what was measured."""

import io
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from farm.reporting.leaderboard import (
    Answer,
    Leaderboard,
    Sample,
    markdown,
    print_leaderboard,
    write_leaderboard,
)

HOSTILE = "<script>alert(1)</script>|[red]*x*"


def row(name: str, value: float, gold: float = float("nan")) -> dict[str, object]:
    rates = {
        f"{rate}{end}": at + by
        for rate, at in (("win_rate", value), ("length_controlled_win_rate", value - 1),
                         ("gold_win_rate", gold))
        for end, by in (("", 0.0), ("_low", -10.0), ("_high", 10.0))
    }  # fmt: skip
    counts = {"n": 803, "n_missing": 2, "n_empty": 1, "mean_length": 1234.0, "cost_usd": 1.5}
    return {
        "name": name, **rates, "standard_error": 1.5, "length_controlled_variant": "some variant",
        "discrete_win_rate": value, **counts,
    }  # fmt: skip


@pytest.fixture
def board() -> Leaderboard:
    sample = Sample(HOSTILE, [Answer("theirs", HOSTILE, None), Answer("mine", "ok", 0.75)])
    return Leaderboard(
        title="judge", reference="theirs", instructions=805, reference_length=2000.0,
        rows=pd.DataFrame([row("mine", 62.3), row(HOSTILE, 40.0)]),
        notes=[f"{HOSTILE}: 1 outputs are empty."], samples=[sample],
    )  # fmt: skip


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.linked: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.linked += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_page_is_self_contained_and_escapes(board: Leaderboard, tmp_path: Path) -> None:
    files = {path.name: path for path in write_leaderboard(board, tmp_path)}
    page = _Page(files["leaderboard.html"].read_text())
    assert {"script", "img", "link"}.isdisjoint(page.tags)
    assert not page.linked
    assert page.texts.count(HOSTILE) >= 3  # the name, the instruction and the answer
    cells = [text.strip() for text in page.texts]
    assert {"62.3", "52.3\N{EN DASH}72.3", "61.3", "803"} <= set(cells)
    assert "Gold" not in cells
    assert "preferred 75 %, 2 characters" in cells


def test_csv_reads_back(board: Leaderboard, tmp_path: Path) -> None:
    write_leaderboard(board, tmp_path)
    found = pd.read_csv(tmp_path / "leaderboard.csv")
    pd.testing.assert_frame_equal(found, board.rows)


def test_markdown_keeps_its_columns(board: Leaderboard) -> None:
    text = markdown(board)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    unescaped = [line.replace("\\|", "").count("|") for line in table]
    assert len(set(unescaped)) == 1
    assert "62.3 [52.3\N{EN DASH}72.3]" in table[2]
    assert "<script>" not in text


def test_terminal_shows_whole_intervals_and_takes_no_markup(board: Leaderboard) -> None:
    console = Console(file=io.StringIO(), width=80)
    rows = pd.DataFrame([row("mine", 62.3, 55.0), row("[b]x[/b]", 40.0, 50.0)])
    print_leaderboard(Leaderboard(**{**vars(board), "rows": rows}), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "52.3\N{EN DASH}72.3" in text
    assert "45.0\N{EN DASH}65.0" in text
    assert "[b]x[/b]" in "".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())
