"""A leaderboard in the terminal and as CSV, Markdown and HTML.

Win rates are percent against the reference, lengths characters, cost US dollars; below or behind a
figure stands its 95 % interval. Names and answers are data: no format takes them for markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farm.reporting.formats import interval, number
from farm.reporting.markdown import literal, markdown_table
from farm.reporting.pages import render_page
from farm.reporting.views import Cell, Column

COLUMNS = (
    Column("Win rate", "%", "win_rate", 1),
    Column("Standard error", "%", "standard_error", 2),
    Column("Length-controlled", "%", "length_controlled_win_rate", 1),
    Column("Discrete", "%", "discrete_win_rate", 1),
    Column("Gold", "%", "gold_win_rate", 1),
    Column("Verdicts", "rows", "n", 0),
    Column("No verdict", "rows", "n_missing", 0),
    Column("Empty", "rows", "n_empty", 0),
    Column("Length", "chars", "mean_length", 0),
    Column("Cost", "USD", "cost_usd", 2),
)
_TERMINAL = {
    "win_rate": "Win rate\n%",
    "length_controlled_win_rate": "Length-\ncontrolled\n%",
    "discrete_win_rate": "Discrete\n%",
    "gold_win_rate": "Gold\n%",
    "n_missing": "No\nverdict",
    "mean_length": "Length\nchars",
    "cost_usd": "Cost\nUSD",
}
"""What fits into 80 characters beside names, and its headings."""


class Answer(NamedTuple):
    """One side's answer to an instruction."""

    name: str
    text: str
    preference: float | None
    """Of the judge for this answer over the reference's, in [0, 1]; NaN without a verdict, None
    for the reference."""


class Sample(NamedTuple):
    """An instruction with all answers, the reference's first."""

    instruction: str
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Leaderboard:
    """What an evaluation found."""

    title: str
    """Who judged."""
    reference: str
    instructions: int
    """Those that count."""
    reference_length: float
    """Mean, in characters."""
    rows: pd.DataFrame
    """`name` and the columns of `leaderboard.csv`, best first."""
    notes: Sequence[str]
    """What readers must know."""
    samples: Sequence[Sample]

    @property
    def heading(self) -> str:
        """What the figures are, in a line."""
        return (
            f"Against {self.reference} (mean length {self.reference_length:,.0f}), judged by "
            f"{self.title}; {self.instructions:,} instructions"
        )

    @property
    def columns(self) -> list[Column]:
        """Those with a figure."""
        return [column for column in COLUMNS if self.rows[column.source].notna().any()]

    @property
    def variants(self) -> str:
        """How length was controlled for."""
        return ", ".join(self.rows["length_controlled_variant"].dropna().unique())


def print_leaderboard(board: Leaderboard, console: Console) -> None:
    """The table, as much of it as a terminal shows."""
    columns = [column for column in board.columns if column.source in _TERMINAL]
    table = Table(
        title=escape(board.heading), title_justify="left", title_style="bold",
        box=SIMPLE, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(_TERMINAL[column.source], justify="right", no_wrap=True)
    for name, cells in _rows(board, columns):
        table.add_row(
            escape(name), *(f"{c.value}\n{c.interval}" if c.interval else c.value for c in cells)
        )
    console.print(table)


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """`leaderboard.csv`, `.md` and `.html`."""
    texts = {
        "leaderboard.csv": board.rows.to_csv(index=False),
        "leaderboard.md": markdown(board),
        "leaderboard.html": html(board),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def markdown(board: Leaderboard) -> str:
    """A table that GitHub renders."""
    rows = [([name], cells) for name, cells in _rows(board, board.columns)]
    headings = [f"{c.title} ({c.unit})" for c in board.columns]
    notes = [f"- {literal(note)}" for note in board.notes]
    explained = (
        "Below 95 % intervals stand in brackets; they resample instructions, so they are "
        f"conditional on these answers and this judge. Length control: {literal(board.variants)}."
    )
    parts = [
        f"{literal(board.heading)}.",
        explained,
        markdown_table([""], headings, rows),
        "\n".join(notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def html(board: Leaderboard) -> str:
    """A page of its own."""
    return render_page(
        "leaderboard.html.jinja",
        board=board,
        columns=board.columns,
        rows=_rows(board, board.columns),
    )


def _rows(board: Leaderboard, columns: Sequence[Column]) -> list[tuple[str, list[Cell]]]:
    """Names, and cells aligned with the columns."""
    return [
        (row["name"], [_cell(row, column) for column in columns])
        for row in board.rows.to_dict("records")
    ]


def _cell(row: Any, column: Column) -> Cell:
    return Cell(
        number(row[column.source], column.decimals), interval(row, column.source, column.decimals)
    )
