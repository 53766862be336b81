"""The figures of a merging study, from the tables of `farm.studies.merging_tables`."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from farm.reporting import plots
from farm.reporting.study_layouts import side_by_side
from farm.studies.merging_study import EVERYWHERE

_MARKS = [(colour, mark) for mark, colour in product("osD^", plots.SERIES_COLOURS[1:7])]
"""Colour and marker of each policy that is no parent."""


def plot_domains(performance: pd.DataFrame) -> Figure:
    """Every policy by its score in both domains, with intervals over seeds; between the parents
    the line on which their means lie, and a cross at the mean itself."""
    one, other = [name for name in performance["domain"].unique() if name != EVERYWHERE]
    rows = side_by_side(performance, ["policy", "role"], "domain", ["score"])
    parents = rows[rows["role"] == "parent"]
    x, y = f"{one} score", f"{other} score"
    with mpl.rc_context(plots.STYLE):
        figure, (axes,) = plots.panels(1)
        axes.plot(parents[x], parents[y], color=plots.INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot(parents[x].mean(), parents[y].mean(), "x", color=plots.INK, label="parents' mean")
        marks = iter(_MARKS)
        for row in rows.to_dict("records"):
            colour, mark = (plots.INK, "o") if row["role"] == "parent" else next(marks)
            axes.errorbar(
                row[x], row[y], xerr=_reach(row, x), yerr=_reach(row, y), color=colour, fmt=mark,
                markersize=5, elinewidth=0.8, label=row["policy"],
            )  # fmt: skip
        axes.set_title("Score in each domain (%)")
        axes.set_xlabel(str(one))
        axes.set_ylabel(str(other))
        plots.legend(figure, axes)
    return figure


def plot_merge_gains(gains: pd.DataFrame) -> Figure:
    """What each merge gains over the parents' mean and over the better parent, by domain."""
    domains = list(gains["domain"].unique())
    merges = list(gains["policy"].unique())
    with mpl.rc_context(plots.STYLE):
        figure, axes_of = plots.panels(len(domains))
        for axes, domain in zip(axes_of, domains, strict=True):
            rows = gains[gains["domain"] == domain].set_index("policy").loc[merges]
            for place, figures in enumerate(("over_expected", "over_best")):
                _draw_gains(axes, rows, figures, place)
            axes.axvline(0, color=plots.INK, linewidth=0.8)
            axes.set_yticks(range(len(merges)), merges)
            axes.set_title(f"{domain}: points over the parents")
        axes_of[0].invert_yaxis()
        plots.legend(figure, axes_of[0])
    return figure


def _draw_gains(axes: Axes, rows: pd.DataFrame, name: str, place: int) -> None:
    ends = np.array([_reach(row, name) for row in rows.to_dict("records")])[:, :, 0].T
    axes.errorbar(
        rows[name], np.arange(len(rows)) + 0.2 * place, xerr=ends, fmt="os"[place], markersize=4,
        color=plots.SERIES_COLOURS[place], elinewidth=1.2, label=name.replace("_", " "),
    )  # fmt: skip


def _reach(row: Mapping[Any, Any], name: str) -> list[list[float]]:
    """How far a figure's interval reaches down and up; 0 where there is one seed."""
    low, high = (row.get(f"{name}_{end}", np.nan) for end in ("low", "high"))
    return [[float(np.nan_to_num(row[name] - low))], [float(np.nan_to_num(high - row[name]))]]
