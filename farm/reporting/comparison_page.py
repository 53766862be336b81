"""The report of a comparison: tables, a figure, a page that needs no other file, the terminal, and
the table as Markdown.

Win rates are percent against the reference.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from farm.evaluation.comparisons import LEVEL
from farm.reporting import comparison_layouts as layouts
from farm.reporting import plots
from farm.reporting.markdown import literal, markdown_table
from farm.reporting.study_sections import (
    INTERVALS,
    Drawn,
    Section,
    print_layout,
    write_page,
    write_tables,
)
from farm.reporting.study_words import CHANCE, figure, listed

Tables = Mapping[str, pd.DataFrame]

_ROW_IN = 0.34
"""Height of a policy in the figure."""
_MARKERS = ("o", "D", "s", "^")


def write_comparison(folder: Path, tables: Tables) -> list[Path]:
    """Write each table as NAME.csv, the figure as PNG, `comparison.html` and `comparison.md`; the
    paths of the last two."""
    frame = tables["comparison"]
    page, text = folder / "comparison.html", folder / "comparison.md"
    drawn = Drawn(
        "win_rates",
        "Win rates of every policy, the pool's best on top, with their 95 % intervals",
        win_rate_figure(frame),
    )
    sections = [
        Section("win-rates", "Win rates", [drawn], [layouts.win_rates(frame)]),
        Section("costs", "Costs", [], [layouts.costs(frame)]),
        Section("trials", "Tuning", [], [layouts.trials(tables["trials"])]),
    ]
    write_tables(folder, tables)
    write_page(page, INTERVALS, {"In words": list(summary(tables))}, sections)
    text.write_text(markdown(frame), encoding="utf-8")
    return [page, text]


def markdown(frame: pd.DataFrame) -> str:
    """The whole table, as a README shows it."""
    layout = layouts.whole(frame)
    figures = [f"{c.title} ({c.unit})" if c.unit else c.title for c in layout.figures]
    table = markdown_table(list(layout.names.values()), figures, layout.lines)
    return f"{literal(layout.caption)}\n\n{table}\n"


def print_comparison(tables: Tables, console: Console) -> None:
    """All trials, win rates and costs."""
    frame = tables["comparison"]
    for layout in (
        layouts.trials(tables["trials"]),
        layouts.win_rates(frame),
        layouts.costs(frame),
    ):
        print_layout(layout, console)


def win_rate_figure(frame: pd.DataFrame) -> Figure:
    """A line per policy, a marker with its interval per judge that judged."""
    judges = [column for column in layouts.RATES if frame[column.source].notna().any()]
    places = np.arange(len(frame))[::-1]
    with mpl.rc_context(plots.STYLE):
        size = (2 * plots.WIDTH_IN, 1.3 + _ROW_IN * len(frame))
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots()
        axes.axvline(CHANCE, color=plots.INK, linewidth=0.8)
        for number, column in enumerate(judges):
            rates, name = frame[column.source], column.source
            reach = [rates - frame[f"{name}_low"], frame[f"{name}_high"] - rates]
            axes.errorbar(
                rates, places - 0.17 * (number - (len(judges) - 1) / 2), xerr=np.stack(reach),
                fmt=_MARKERS[number], color=plots.SERIES_COLOURS[number], label=column.title,
                markersize=4, elinewidth=0.9,
            )  # fmt: skip
        axes.set_yticks(places, frame["policy"])
        axes.set_xlabel("Win rate against the reference (%)")
        plots.legend(drawn, axes)
    return drawn


def summary(tables: Tables) -> Iterator[str]:
    """What the tables say, in sentences that are computed from them alone."""
    frame, pairs = tables["comparison"], tables["pairs"]
    learned = frame[frame["learned"]].to_dict("records")
    best = learned[0]
    near = [row["policy"] for row in learned[1:] if set(row["letters"]) & set(best["letters"])]
    told = f"not told apart from {listed(near)}" if near else "told apart from all others"
    yield f"By the pool {best['policy']} is best, with {figure(best, 'pool', 1)} %; it is {told}."
    above = [row["policy"] for row in learned if row["pool_low"] > CHANCE]
    yield (
        f"{len(above)} of {len(learned)} methods lie above the reference by more than their "
        f"intervals by the pool{': ' + listed(above) if above else ''}."
    )
    known = [row for row in learned if not pd.isna(row["gold"])]
    if known:
        truly = max(known, key=lambda row: row["gold"])
        yield f"By gold {truly['policy']} is best, with {figure(truly, 'gold', 1)} %."
    yield (
        f"{(pairs['adjusted'] < LEVEL).sum()} of {len(pairs)} pairs of policies, the start's rows "
        "among them, are told apart by the pool (Holm, 5 %)."
    )
    yield _tuning(tables["trials"])


def _tuning(trials: pd.DataFrame) -> str:
    each = trials.groupby("method")["trial"].nunique().iloc[0]
    seeds = [str(seed) for seed in trials["seed"].unique()]
    which = "seeds" if len(seeds) > 1 else "seed"
    return f"Every method had {each} trials, on the {which} {listed(seeds)}."
