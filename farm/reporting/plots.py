"""The curves of a run as matplotlib figures.

Win rates are percent against the reference; bands are 95 % intervals over instructions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#4a4a4b"
"""Text, axes and grid."""

SERIES_COLOURS = (
    "#2a6fb0",
    "#c8641b",
    "#3f8a4a",
    "#7d5bb0",
    "#b0416b",
    "#7a6a1f",
    "#3b8f93",
    "#8a8a8a",
)
"""Legible on white; a page restates them for dark themes."""


Dashes = str | tuple[int, tuple[int, ...]]

DASHES: tuple[Dashes, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1, 2)))
"""Lines differ in dashes too, so that colour is not all that tells them apart."""


class Series(NamedTuple):
    """A column of `curve.parquet` as a line."""

    column: str
    label: str
    colour: str
    dashes: Dashes = "-"


WIN_RATES = (
    Series("pool_preference", "pool", SERIES_COLOURS[0]),
    Series("win_rate", "one annotator", SERIES_COLOURS[3], DASHES[3]),
    Series("held_out_win_rate", "held-out evaluators", SERIES_COLOURS[1], DASHES[1]),
    Series("gold_win_rate", "gold", SERIES_COLOURS[2], DASHES[2]),
)
GOLD = Series("gold_utility", "gold utility", SERIES_COLOURS[2])
PROXY = Series("proxy_reward", "proxy reward", SERIES_COLOURS[1])
KL = Series("kl_to_start", "KL to the start (nats)", SERIES_COLOURS[0])

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.18,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
}


WIDTH_IN = 4.3
HEIGHT_IN = 3.3
_HANDLE_IN, _CHARACTER_IN = 0.7, 0.085
"""Room in a legend for a line with its gaps, and for a character."""


def win_rate_figure(curve: pd.DataFrame, selected_step: int | None = None) -> Figure:
    """Win rates over training steps by every evaluator that judged."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1)
        for series in WIN_RATES:
            draw(axes, curve, series)
        chance_line(axes)
        if selected_step is not None:
            axes.axvline(selected_step, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        label(axes, "Win rate against the reference (%)")
        legend(figure, axes)
    return figure


def proxy_and_gold_figure(curve: pd.DataFrame) -> Figure:
    """What is optimised, above what is wanted, over the same steps."""
    drawn = [series for series in (PROXY, GOLD) if curve[series.column].notna().any()]
    with mpl.rc_context(STYLE):
        figure, rows = panels(max(len(drawn), 1), stacked=True)
        for axes, series in zip(rows, drawn, strict=False):
            draw(axes, curve, series)
            label(axes, series.label.capitalize())
    return figure


def kl_figure(curve: pd.DataFrame) -> Figure:
    """How far the policy has moved from its start."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1)
        draw(axes, curve, KL)
        axes.set_ylim(bottom=0)
        label(axes, KL.label)
    return figure


def panels(count: int, *, stacked: bool = False) -> tuple[Figure, Sequence[Axes]]:
    """A figure with `count` panels: side by side on one y axis, or stacked on one x axis in the
    height of one."""
    columns, rows = (1, count) if stacked else (count, 1)
    figure = Figure(figsize=(WIDTH_IN * columns, HEIGHT_IN), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=stacked, sharey=not stacked)
    return figure, list(grid.ravel())


def draw(axes: Axes, curve: pd.DataFrame, series: Series, x: str = "step") -> None:
    """One line with its band, where the column has any figures."""
    known = curve.dropna(subset=[series.column]).sort_values(x)
    if known.empty:
        return
    axes.plot(
        known[x], known[series.column], color=series.colour, linestyle=series.dashes,
        label=series.label, linewidth=1.8, marker="o", markersize=2.5,
    )  # fmt: skip
    bounds = [f"{series.column}_{end}" for end in ("low", "high")]
    if set(bounds) <= set(known.columns):
        low, high = (known[bound] for bound in bounds)
        axes.fill_between(known[x], low, high, color=series.colour, alpha=0.15, linewidth=0)


_BANDS = 4
"""More bands hide each other."""


def look(place: int) -> tuple[str, Dashes]:
    """Colour and dashes of the line at a place; the first 32 differ."""
    turn, colour = divmod(place, len(SERIES_COLOURS))
    return SERIES_COLOURS[colour], DASHES[(place + turn) % len(DASHES)]


def draw_each(axes: Axes, frame: pd.DataFrame, by: str, column: str, x: str = "step") -> None:
    """A line of `column` for every value of `by`, in the frame's order; with bands where they are
    few."""
    groups = frame.groupby(by, sort=False)
    shown = frame.columns if groups.ngroups <= _BANDS else [by, column, x]
    for place, (name, rows) in enumerate(groups):
        draw(axes, rows[shown], Series(column, str(name), *look(place)), x)


def chance_line(axes: Axes) -> None:
    """Where policy and reference are equally good."""
    axes.axhline(50, color=INK, linewidth=0.8)


def label(axes: Axes, title: str, x: str = "Training step") -> None:
    """Title, and the x axis on the lowest panel alone."""
    axes.set_title(title)
    if axes.get_subplotspec().is_last_row():  # type: ignore[union-attr]
        axes.set_xlabel(x)


def legend(figure: Figure, axes: Axes) -> None:
    """Below the panels, where it hides no line."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    each_in = _HANDLE_IN + _CHARACTER_IN * max(map(len, labels))
    columns = max(1, int(figure.get_size_inches()[0] / each_in))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=2.6)
