"""The evaluators table as a figure and for the terminal, and both as files."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farm.reporting import plots
from simulators.validation.evaluators_table import MEASURES
from simulators.validation.settings import ValidateSettings

_TASTES = {
    "prefer_longer": "longer",
    "prefer_lists": "lists",
    "prefer_first": "shown first",
    "prefer_confident": "confident",
}
_WIDTH_IN = 8.0
_MARKERS = "os^Dv"


def evaluators_figure(table: pd.DataFrame) -> Figure:
    """Agreement with the labels beside what is preferred, a point with its 95 % interval for each
    row of the table; the line is at 50 %."""
    with mpl.rc_context(plots.STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 2.4 + 0.3 * len(table)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
        _draw_agreement(left, table)
        _draw_tastes(right, table)
        handles, names = right.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower right", ncols=3)
    return figure


def _draw_agreement(axes: Axes, table: pd.DataFrame) -> None:
    """A line for each row of the table that has an agreement."""
    known = table["agreement"].notna()
    for line, place in enumerate(known.to_numpy().nonzero()[0].tolist()):
        _points(axes, table.iloc[place], ["agreement"], [line], place)
    _finish(axes, "Agreement with the labels (%)", table["name"][known])


def _draw_tastes(axes: Axes, table: pd.DataFrame) -> None:
    """A line for each taste, the table's rows close together on it."""
    spread = 0.3 / max(len(table) - 1, 1)
    for place in range(len(table)):
        offset = spread * (place - (len(table) - 1) / 2)
        heights = [line + offset for line in range(len(_TASTES))]
        _points(axes, table.iloc[place], list(_TASTES), heights, place)
    _finish(axes, "Preferred where only one answer is … (%)", _TASTES.values())


def _points(
    axes: Axes, row: "pd.Series[Any]", columns: list[str], heights: Sequence[float], place: int
) -> None:
    low, middle, high = (
        row[[f"{column}{end}" for column in columns]].to_numpy(float)
        for end in ("_low", "", "_high")
    )
    axes.errorbar(
        middle, heights, xerr=[middle - low, high - middle], label=row["name"], linestyle="none",
        color=plots.SERIES_COLOURS[place % len(plots.SERIES_COLOURS)],
        marker=_MARKERS[place % len(_MARKERS)], markersize=5, capsize=2.5, clip_on=False,
    )  # fmt: skip


def _finish(axes: Axes, title: str, lines: Iterable[str]) -> None:
    names = list(lines)
    axes.set_title(title)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.axvline(50, color=plots.INK, linewidth=0.8)
    axes.grid(visible=False, axis="y")


def print_table(table: pd.DataFrame, console: Console | None = None) -> None:
    """A line for each measure that any row has, its 95 % interval behind it."""
    pairs, labels = (int(table[name].iloc[0]) for name in ("n_pairs", "n_labels"))
    of_each = f"{labels} label{'s' * (labels != 1)} each"
    shown = Table(
        title=f"{pairs:,} pairs, {of_each}; 95 % intervals over instructions",
        title_justify="left",
        title_style="bold",
        box=SIMPLE,
        pad_edge=False,
    )
    shown.add_column("")
    for name in table["name"]:
        shown.add_column(escape(name), justify="right")
    for measure, title in MEASURES.items():
        if table[measure].notna().any():
            shown.add_row(title, *(_cell(row, measure) for _, row in table.iterrows()))
    for count, title in (("n_parsed", "Verdicts parsed"), ("n_asked", "Verdicts asked for")):
        shown.add_row(title, *(f"{value:,}" for value in table[count]))
    (console or Console(highlight=False)).print(shown)


def _cell(row: "pd.Series[Any]", measure: str) -> str:
    value, low, high = (row[f"{measure}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "-"
    digits = 1 if abs(value) >= 1.5 else 2
    return escape(f"{value:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]")


def write_files(table: pd.DataFrame, settings: ValidateSettings) -> list[Path]:
    """NAME.parquet, NAME.csv and NAME.png in the folder `out`; an earlier call's are replaced."""
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    parquet, csv, png = (folder / f"{settings.name}.{end}" for end in ("parquet", "csv", "png"))
    table.to_parquet(parquet, index=False)
    table.to_csv(csv, index=False)
    evaluators_figure(table).savefig(png, dpi=150)
    return [parquet, csv, png]
