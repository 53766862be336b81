"""The report of a study of speculative sampling: tables, figures, a page that needs no other file,
the terminal, and the tables as Markdown, from the frames of farm.studies.speculation_tables.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from farm.protocols import FloatArray
from farm.reporting import plots
from farm.reporting.markdown import literal, markdown_table
from farm.reporting.study_layouts import Layout, side_by_side
from farm.reporting.study_sections import (
    INTERVALS,
    Drawn,
    Section,
    print_layout,
    write_page,
    write_tables,
)
from farm.reporting.study_words import figure, listed
from farm.reporting.views import Column

Tables = Mapping[str, pd.DataFrame]
TABLES = ("points", "frontier", "speedups", "gains", "estimates", "bins", "times", "law")

_RULE = {"rule": "Rule"}
_SETTING = {**_RULE, "value": "Setting"}
_SEEDS = "Means over seeds with 95 % intervals by Student's t."
_ABOUT_RATES = (
    "Discarded: tokens of the draft that are not in the answer; passes: of the policy; both for "
    "one token of the answer, and lower is better."
)
_ABOUT_ORACLE = (
    "The oracle ends a round of the baseline as soon as a token is to be rejected: what foresight "
    "could save."
)


def write_speculation(folder: Path, tables: Tables, baseline: str) -> list[Path]:
    """Write each table as NAME.csv, the figures as PNG, `speculation.html` and `speculation.md`;
    the paths of the last two."""
    page, text = folder / "speculation.html", folder / "speculation.md"
    drawn = [
        Drawn("pareto", "Discarded tokens and passes of the policy", pareto_figure(tables)),
        Drawn("reliability", "Estimated and real acceptance", reliability_figure(tables)),
    ]
    layouts = [speedups(tables, baseline), estimates(tables), points(tables, baseline)]
    timed = times(tables)
    sections = [
        Section("rules", "When the draft stops", drawn, layouts[:2], layouts[2:]),
        Section("times", "Seconds", [], [], [timed]),
    ]
    write_tables(folder, tables)
    write_page(page, INTERVALS, {"In words": list(summary(tables, baseline))}, sections)
    text.write_text("\n".join(map(_markdown, [*layouts, timed])), encoding="utf-8")
    return [page, text]


def _markdown(layout: Layout) -> str:
    figures = [f"{c.title} ({c.unit})" if c.unit else c.title for c in layout.figures]
    table = markdown_table(list(layout.names.values()), figures, layout.lines)
    return f"**{literal(layout.title)}.** {literal(layout.caption)}\n\n{table}\n"


def print_speculation(tables: Tables, baseline: str, console: Console) -> None:
    """Speed-ups, estimates, and what they say."""
    for layout in (speedups(tables, baseline), estimates(tables)):
        print_layout(layout, console)
    for sentence in summary(tables, baseline):
        console.print(sentence, markup=False)


def load_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that a study has left in its folder, for notebooks."""
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}


# ----------------------------------------------------------------------------------- layouts


def points(tables: Tables, baseline: str) -> Layout:
    """What every rule takes at every setting."""
    return Layout(
        "Discarded tokens and passes of the policy",
        f"{_ABOUT_RATES} Excess: of the discarded, over {baseline} at as many passes. "
        f"{_ABOUT_ORACLE} {_SEEDS}",
        _SETTING,
        [
            Column("Discarded", "per token", "discard_rate", 3),
            Column("Passes", "per token", "verification_rate", 3),
            Column("Excess", "per token", "excess", 3),
        ],
        tables["points"].assign(value=tables["points"]["value"].map("{:g}".format)),
    )


def speedups(tables: Tables, baseline: str) -> Layout:
    """What that would mean for time."""
    both = tables["speedups"].merge(tables["gains"], on=["rule", "ratio"], how="left")
    both["ratio"] = both["ratio"].map("{:g}".format)
    figures = [
        column
        for ratio in both["ratio"].unique()
        for column in (
            Column(f"1:{ratio}", "times", f"{ratio} speedup", 2),
            Column("Gain", "%", f"{ratio} gain", 1),
        )
    ]
    return Layout(
        "Modelled speed-up",
        "Over drawing one token after the other, if a pass of the policy took as long as so many "
        f"tokens of the draft and nothing else took time; gain over {baseline}. On each seed at "
        f"the setting that is best on the others. {_SEEDS}",
        _RULE,
        figures,
        side_by_side(both, ["rule"], "ratio", ["speedup", "gain"]),
    )


def estimates(tables: Tables) -> Layout:
    """How well rules foresee acceptance."""
    return Layout(
        "Is a token accepted?",
        "Of tokens whose predecessors were accepted, while decoding: AUROC, expected calibration "
        f"error (ECE) and Brier score of each rule's estimate, taken for a probability. {_SEEDS}",
        _RULE,
        [
            Column("AUROC", "", "auroc", 3),
            Column("ECE", "", "calibration_error", 3),
            Column("Brier", "", "brier", 3),
        ],
        tables["estimates"],
    )


def times(tables: Tables) -> Layout:
    """What was measured, on whatever machine it was."""
    frame = tables["times"]
    return Layout(
        "Wall time",
        "Seconds for all answers, many of them decoded together, and how much faster that is than "
        f"drawing one token after the other with the loop of sampler=farm. {_SEEDS}",
        _SETTING,
        [
            Column("Wall time", "s", "wall_s", 1),
            Column("Speed-up", "times", "measured_speedup", 2),
        ],
        frame.assign(value=frame["value"].map("{:g}".format)),
    )


# ------------------------------------------------------------------------- figures and words


def pareto_figure(tables: Tables) -> Figure:
    """Discard rate over verification rate, a line through each rule's settings: the lower left is
    better. Bars are 95 % intervals over seeds."""
    frame = tables["points"]
    with mpl.rc_context(plots.STYLE):
        drawn, (axes,) = plots.panels(1)
        for place, (rule, rows) in enumerate(frame.groupby("rule", sort=False)):
            known = rows.sort_values("verification_rate")
            axes.errorbar(
                known["verification_rate"], known["discard_rate"],
                xerr=_reach(known, "verification_rate"), yerr=_reach(known, "discard_rate"),
                label=str(rule), **_line(place),
            )  # fmt: skip
        _titles(axes, "Discarded draft tokens per token", "Passes of the policy per token")
        plots.legend(drawn, axes)
    return drawn


def reliability_figure(tables: Tables) -> Figure:
    """The share of tokens that are accepted over the estimate; on the diagonal they are equal."""
    frame = tables["bins"]
    with mpl.rc_context(plots.STYLE):
        drawn, (axes,) = plots.panels(1)
        axes.plot([0, 1], [0, 1], color=plots.INK, linewidth=0.8)
        for rule, rows in frame.groupby("rule", sort=False):
            place = tables["points"]["rule"].unique().tolist().index(rule)
            axes.plot(rows["estimate"], rows["accepted"], label=str(rule), **_line(place))
        _titles(axes, "Share of tokens accepted", "Estimate")
        plots.legend(drawn, axes)
    return drawn


def _line(place: int) -> dict[str, Any]:
    colour, dashes = plots.look(place)
    return {
        "color": colour,
        "linestyle": dashes,
        "linewidth": 1.4,
        "marker": "o",
        "markersize": 2.5,
    }


def _reach(rows: pd.DataFrame, column: str) -> FloatArray:
    """How far the interval reaches to both sides, [2, rows]; 0 where there is none."""
    low, high = rows[f"{column}_low"], rows[f"{column}_high"]
    reach: FloatArray = np.nan_to_num(np.stack([rows[column] - low, high - rows[column]]))
    return reach


def _titles(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(below)


def summary(tables: Tables, baseline: str) -> Iterator[str]:
    """What the tables say, in sentences that are computed from them alone."""
    law = tables["law"].iloc[0]
    yield (
        f"Of {law['tests']} chi-square tests of speculative against plain sampling {law['below']} "
        f"have p below 5 %, and {law['rejected']} after Holm's adjustment."
    )
    frontier = tables["frontier"]
    above = [
        f"{row['rule']} {figure(row, 'excess', 3)}"
        for row in frontier[frontier["rule"] != baseline].to_dict("records")
    ]
    yield (
        f"Draft tokens discarded per token, less those of {baseline} at as many passes, averaged "
        f"over settings: {listed(above)}."
    )
    gains = tables["gains"]
    for ratio, rows in gains.groupby("ratio", sort=False):
        faster = [_gain(row) for row in rows[rows["gain_low"] > 0].to_dict("records")]
        slower = [_gain(row) for row in rows[rows["gain_high"] < 0].to_dict("records")]
        told = [f"faster: {listed(faster)}"] if faster else []
        told += [f"slower: {listed(slower)}"] if slower else []
        words = "; ".join(told) or "no rule is told apart"
        yield f"At 1:{ratio:g}, by the model of time, against {baseline}: {words}."
    found = tables["estimates"].to_dict("records")
    if found:
        best = max(found, key=lambda row: float(row["auroc"]))
        yield f"Acceptance is foreseen best by {best['rule']}: AUROC {figure(best, 'auroc', 3)}."


def _gain(row: Mapping[Any, Any]) -> str:
    return f"{row['rule']} ({figure(row, 'gain', 1)} %)"
