"""What the reports of all studies are made of: figures, tables, pages that need no other file.

Everything that a configuration or a model wrote is escaped by the template.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farm.reporting.markdown import literal, markdown_table
from farm.reporting.pages import render_page
from farm.reporting.study_layouts import Layout
from farm.reporting.svg import svg

INTERVALS = (
    "Figures in brackets and below figures are 95 % intervals; \N{EN DASH} means not applicable."
)

_PNG_DPI = 150


class Drawn(NamedTuple):
    """A figure, and what it shows in words."""

    name: str
    caption: str
    figure: Figure


class Section(NamedTuple):
    """A part of the page."""

    name: str
    title: str
    figures: Sequence[Drawn]
    tables: Sequence[Layout]
    folded: Sequence[Layout] = ()
    """Tables to unfold."""


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each as NAME.csv."""
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)


def write_page(
    path: Path, intro: str, summary: Mapping[str, Sequence[str]], sections: Sequence[Section]
) -> None:
    """Write the page of the study that its folder is named after, and beside it each figure as
    NAME.png. `summary` are paragraphs by heading."""
    drawings = {}
    for drawn in (drawn for section in sections for drawn in section.figures):
        drawn.figure.savefig(path.parent / f"{drawn.name}.png", dpi=_PNG_DPI)
        drawings[drawn.name] = svg(drawn.figure, drawn.name, drawn.caption)
    page = render_page(
        "study.html.jinja",
        name=path.parent.name,
        intro=intro,
        summary=summary,
        sections=sections,
        drawings=drawings,
    )
    path.write_text(page, encoding="utf-8")


def layout_markdown(layout: Layout) -> str:
    """The table with its caption, as GitHub renders it."""
    figures = [f"{c.title} ({c.unit})" if c.unit else c.title for c in layout.figures]
    table = markdown_table(list(layout.names.values()), figures, layout.lines)
    return f"**{literal(layout.title)}.** {literal(layout.caption)}\n\n{table}\n"


def print_layout(layout: Layout, console: Console) -> None:
    """The table, intervals below their figures."""
    table = empty_table(layout.title)
    for heading in layout.names.values():
        table.add_column(escape(heading), overflow="fold")
    for column in layout.figures:
        heading = f"{column.title}\n{column.unit}" if column.unit else column.title
        table.add_column(escape(heading), justify="right")
    for texts, cells in layout.lines:
        figures_ = (f"{c.value}\n{c.interval}" if c.interval else c.value for c in cells)
        table.add_row(*map(escape, texts), *figures_)
    console.print(table)


def empty_table(title: str) -> Table:
    """A table without columns yet."""
    return Table(
        title=escape(title), title_justify="left", title_style="bold",
        box=SIMPLE, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
