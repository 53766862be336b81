"""The report of a stability study: tables, a figure, a page that needs no other file, the terminal,
and the tables as Markdown, from the frames of farm.studies.stability_tables.

Scores are percent; differences of them are points.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from farm.evaluation.comparisons import LEVEL
from farm.reporting import plots
from farm.reporting.study_layouts import Layout, side_by_side, with_p_values
from farm.reporting.study_sections import (
    INTERVALS,
    Drawn,
    Section,
    layout_markdown,
    print_layout,
    write_page,
    write_tables,
)
from farm.reporting.study_words import figure, listed
from farm.reporting.views import Column

Tables = Mapping[str, pd.DataFrame]

_VARIANT = {"variant": "Variant"}
_FLOP = 1e12
_ROW_IN = 0.38
"""Height of a variant in the figure of depths."""
_ENDS = {"depth": "less deep", "end": "higher at the end"}


def write_stability(folder: Path, tables: Tables, baseline: str) -> list[Path]:
    """Write each table as NAME.csv, the figure as PNG, `stability.html` and `stability.md`; the
    paths of the last two."""
    page, text = folder / "stability.html", folder / "stability.md"
    drawn = Drawn(
        "curves",
        "Share of right answers by source of instructions, and nats per token of held-out text of "
        "the new domain, over training steps; means over seeds with 95 % intervals",
        curves_figure(tables),
    )
    depths = Drawn(
        "depths",
        "How far each skill falls below its start; means over seeds with 95 % intervals",
        depths_figure(tables),
    )
    gap_layouts = [gaps(tables, source) for source in sources(tables)]
    compared = [differences(tables, baseline, source) for source in sources(tables)]
    sections = [
        Section("gaps", "Skills", [drawn, depths], gap_layouts),
        Section("differences", f"Against {baseline}", [], compared),
        Section("readings", "Text and weights", [], [readings(tables), costs(tables)]),
    ]
    write_tables(folder, tables)
    write_page(page, INTERVALS, {"In words": list(summary(tables, baseline))}, sections)
    layouts = [*gap_layouts, *compared, readings(tables), costs(tables)]
    text.write_text("\n".join(map(layout_markdown, layouts)), encoding="utf-8")
    return [page, text]


def print_stability(tables: Tables, baseline: str, console: Console) -> None:
    """Gaps, and what the study says in words."""
    for source in sources(tables):
        print_layout(gaps(tables, source), console)
    for sentence in summary(tables, baseline):
        console.print(sentence, markup=False)


def sources(tables: Tables) -> list[str]:
    """Of instructions, each with a skill of its own."""
    return [str(source) for source in tables["gaps"]["source"].unique()]


# ----------------------------------------------------------------------------------- layouts


def gaps(tables: Tables, source: str) -> Layout:
    """What became of one skill."""
    frame, seeds = tables["gaps"], tables["costs"]["seeds"].max()
    return Layout(
        f"Skill: {source}",
        f"Right answers to instructions from {source}, means over {seeds} seeds with 95 % "
        "intervals by Student's t. Depth: the lowest score less the first. Back: seeds that come "
        "back to the first score, and the step at which these do. Area: below the first score.",
        _VARIANT,
        [
            Column("Start", "%", "start", 1),
            Column("Depth", "points", "depth", 1),
            Column("At step", "", "bottom", 0),
            Column("Back", "% of seeds", "recovered", 0),
            Column("At step", "if back", "recovery", 0),
            Column("Area", "points x steps", "area", 0),
            Column("Best", "%", "best", 1),
            Column("End", "%", "end", 1),
        ],
        frame[frame["source"] == source],
    )


def differences(tables: Tables, baseline: str, source: str) -> Layout:
    """Who is spared the gap."""
    frame = tables["differences"]
    rows = frame[frame["source"] == source]
    wide = side_by_side(rows, ["variant"], "figure", ["difference", "adjusted"])
    return Layout(
        f"Skill: {source}, less that of {baseline}",
        "Seed by seed from the same start; means over seeds with 95 % intervals by Student's t, "
        "and p-values adjusted for the number of variants (Holm), each column by itself. A gap is "
        "smaller where the difference in depth is above 0 and that in area below.",
        _VARIANT,
        with_p_values(
            Column("Depth", "points", "depth", 1),
            Column("Area", "points x steps", "area", 0),
            Column("Best", "points", "best", 1),
            Column("End", "points", "end", 1),
        ),
        wide,
    )


def readings(tables: Tables) -> Layout:
    """What was learned of the text, and which blocks moved."""
    frame = tables["readings"]
    learned = frame[frame["step"] > 0]
    steps = {"first": learned["step"].min(), "last": learned["step"].max()}
    parts = [learned[learned["step"] == step].assign(at=at) for at, step in steps.items()]
    wide = side_by_side(
        pd.concat(parts), ["variant"], "at", ["text_loss", "bottom_update", "bottom_to_top"]
    )
    return Layout(
        "Text and weights",
        f"At the first checkpoint (step {steps['first']}) and the last (step {steps['last']}): "
        "loss on held-out text of the new domain, how far the first blocks have moved (norm of the "
        "change over the norm of the weights), and that over the same of the last blocks.",
        _VARIANT,
        [
            column
            for at in steps
            for column in (
                Column("Text", f"nats, {at}", f"{at} text_loss", 2),
                Column("Moved", f"bottom, {at}", f"{at} bottom_update", 3),
                Column("Moved", f"bottom / top, {at}", f"{at} bottom_to_top", 2),
            )
        ],
        wide,
    )


def costs(tables: Tables) -> Layout:
    """What training took."""
    frame = tables["costs"]
    return Layout(
        "Costs",
        "Means over seeds, without the start policy.",
        _VARIANT,
        [Column("Training", "10¹² FLOP", "training", 2), Column("Wall time", "s", "wall_s", 0)],
        frame.assign(training=frame["flops"] / _FLOP),
    )


# ------------------------------------------------------------------------- figure and words


def curves_figure(tables: Tables) -> Figure:
    """A panel for each source of instructions and one for text, a line per variant."""
    shown = [(f"Right answers, {source} (%)", source) for source in sources(tables)]
    with mpl.rc_context(plots.STYLE):
        width = plots.WIDTH_IN * (len(shown) + 1)
        drawn = Figure(figsize=(width, 1.5 * plots.HEIGHT_IN), layout="constrained")
        *of_skills, of_text = drawn.subplots(1, len(shown) + 1, squeeze=False)[0]
        for axes, (title, source) in zip(of_skills, shown, strict=True):
            curves = tables["curves"]
            plots.draw_each(axes, curves[curves["source"] == source], "variant", "score")
            plots.label(axes, title)
        plots.draw_each(of_text, tables["readings"], "variant", "text_loss")
        plots.label(of_text, "Held-out text (nats per token)")
        plots.legend(drawn, of_text)
    return drawn


def depths_figure(tables: Tables) -> Figure:
    """A line per variant, a marker with its interval for each source: how far skill falls."""
    frame = tables["gaps"]
    names = frame["variant"].unique().tolist()
    places = np.arange(len(names))[::-1]
    with mpl.rc_context(plots.STYLE):
        size = (2 * plots.WIDTH_IN, 1.3 + _ROW_IN * len(names))
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots()
        axes.axvline(0, color=plots.INK, linewidth=0.8)
        for number, source in enumerate(sources(tables)):
            rows = frame[frame["source"] == source].set_index("variant").loc[names]
            mean, low, high = (rows[f"depth{end}"] for end in ("", "_low", "_high"))
            axes.errorbar(
                mean, places - 0.2 * number, xerr=np.stack([mean - low, high - mean]),
                fmt="oDs^"[number % 4], color=plots.SERIES_COLOURS[number], label=source,
                markersize=4, elinewidth=0.9,
            )  # fmt: skip
        axes.set_yticks(places, names)
        axes.set_xlabel("Lowest score less the first (points)")
        plots.legend(drawn, axes)
    return drawn


def summary(tables: Tables, baseline: str) -> Iterator[str]:
    """What the tables say, in sentences that are computed from them alone."""
    for source in sources(tables):
        yield f"{source}: {_gap(tables, baseline, source)} {_spared(tables, baseline, source)}"
    yield _text(tables, baseline)
    yield _blocks(tables, baseline)


def _gap(tables: Tables, baseline: str, source: str) -> str:
    """Whether the published gap appears."""
    frame = tables["gaps"]
    row = frame[(frame["variant"] == baseline) & (frame["source"] == source)].to_dict("records")[0]
    if not row["depth_high"] < 0:
        return (
            f"{baseline} shows no gap that the seeds agree on ({figure(row, 'depth', 1)} points)."
        )
    return (
        f"{baseline} falls from {figure(row, 'start', 1)} %, at its lowest (around step "
        f"{row['bottom']:.0f}) by {figure(row, 'depth', 1)} points, comes back in "
        f"{row['recovered']:.0f} % of the seeds, and ends at {figure(row, 'end', 1)} %."
    )


def _spared(tables: Tables, baseline: str, source: str) -> str:
    frame = tables["differences"]
    parts = []
    for name, words in _ENDS.items():
        rows = frame[(frame["source"] == source) & (frame["figure"] == name)]
        told = rows[(rows["adjusted"] < LEVEL) & (rows["difference"] > 0)]
        parts.append(f"{words}: {_named(told)}")
    return f"Told apart from it (points; Holm, 5 %), {'; '.join(parts)}."


def _named(rows: pd.DataFrame) -> str:
    named = [
        f"{row['variant']} ({figure(row, 'difference', 1)})" for row in rows.to_dict("records")
    ]
    return listed(named) if named else "none"


def _text(tables: Tables, baseline: str) -> str:
    rows = tables["readings"]
    losses = rows[rows["variant"] == baseline].sort_values("step")["text_loss"]
    falls = "falls all along" if (losses.diff().dropna() <= 0).all() else "does not fall all along"
    return (
        f"The loss on held-out text {falls} under {baseline}, from {losses.iloc[0]:.2f} to "
        f"{losses.iloc[-1]:.2f} nats per token."
    )


def _blocks(tables: Tables, baseline: str) -> str:
    rows = tables["readings"]
    moved = rows[(rows["variant"] == baseline) & (rows["step"] > 0)].sort_values("step")
    first, last = (_ratio(moved.iloc[place].to_dict()) for place in (0, -1))
    return (
        f"Under {baseline} the first blocks have moved {first} times as far as the last ones at "
        f"the first checkpoint, {last} times at the end."
    )


def _ratio(row: Mapping[Any, Any]) -> str:
    return figure(row, "bottom_to_top", 2)
