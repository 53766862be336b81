"""The report of a tuning study: tables, a figure, a page that needs no other file, the terminal,
and the tables as Markdown, from the frames of farm.studies.tuning_tables.

Rates are percent; differences of them are points.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

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
_KIB, _MIB = 2**10, 2**20
_FLOP = 1e12


def write_tunings(folder: Path, tables: Tables, baseline: str) -> list[Path]:
    """Write each table as NAME.csv, the figure as PNG, `tunings.html` and `tunings.md`; the paths
    of the last two."""
    page, text = folder / "tunings.html", folder / "tunings.md"
    losses = Drawn(
        "losses",
        "Training loss over the optimiser's steps; means over seeds with 95 % intervals",
        losses_figure(tables),
    )
    memory = Drawn("memory", "Bytes of gradients and of the optimiser", memory_figure(tables))
    layouts = [policies(tables), differences(tables, baseline), costs(tables)]
    sections = [
        Section("policies", "What was learned", [losses], layouts[:2]),
        Section("costs", "What it took", [memory], layouts[2:]),
    ]
    write_tables(folder, tables)
    write_page(page, INTERVALS, {"In words": list(summary(tables, baseline))}, sections)
    text.write_text("\n".join(map(layout_markdown, layouts)), encoding="utf-8")
    return [page, text]


def print_tunings(tables: Tables, baseline: str, console: Console) -> None:
    """Policies and costs, and what the study says in words."""
    for layout in (policies(tables), costs(tables)):
        print_layout(layout, console)
    for sentence in summary(tables, baseline):
        console.print(sentence, markup=False)


# ----------------------------------------------------------------------------------- layouts


def policies(tables: Tables) -> Layout:
    """What became of each variant."""
    return Layout(
        "Policies",
        f"Means over {tables['costs']['seeds'].max()} seeds with 95 % intervals by Student's t. "
        "Loss: of training, over the last ten steps. Rates: the last policy on `validation`, "
        "against the frozen reference.",
        _VARIANT,
        [
            Column("Loss", "", "loss", 3),
            Column("Pool", "%", "win_rate", 1),
            Column("Gold", "%", "gold_win_rate", 1),
            Column("KL to start", "nats", "kl_to_start", 2),
        ],
        tables["policies"],
    )


def differences(tables: Tables, baseline: str) -> Layout:
    """Who learns more or less."""
    wide = side_by_side(tables["differences"], ["variant"], "figure", ["difference", "adjusted"])
    return Layout(
        f"Less {baseline}",
        "Seed by seed from the same start; means over seeds with 95 % intervals by Student's t, "
        "and p-values adjusted for the number of variants (Holm), each column by itself.",
        _VARIANT,
        with_p_values(
            Column("Loss", "", "loss", 3),
            Column("Pool", "points", "win_rate", 1),
            Column("Gold", "points", "gold_win_rate", 1),
        ),
        wide,
    )


def costs(tables: Tables) -> Layout:
    """Memory and time."""
    frame = tables["costs"]
    kib = {f"{name}_kib": frame[f"{name}_bytes"] / _KIB
           for name in ("parameter", "gradient", "optimizer")}  # fmt: skip
    return Layout(
        "Costs",
        "Memory: the most at one time, of tensors without the optimiser's step counters, and "
        "resident in the process with its libraries. Operations and time: means over seeds, "
        "without the start policy.",
        _VARIANT,
        [
            Column("Parameters", "KiB", "parameter_kib", 0),
            Column("Gradients", "KiB", "gradient_kib", 0),
            Column("Optimiser", "KiB", "optimizer_kib", 0),
            Column("Process", "MiB", "process", 0),
            Column("Training", "10¹² FLOP", "training", 2),
            Column("Wall time", "s", "wall_s", 0),
        ],
        frame.assign(**kib, process=frame["peak_bytes"] / _MIB, training=frame["flops"] / _FLOP),
    )


# ------------------------------------------------------------------------- figure and words


def losses_figure(tables: Tables) -> Figure:
    """A line per variant."""
    with mpl.rc_context(plots.STYLE):
        size = (1.6 * plots.WIDTH_IN, 1.5 * plots.HEIGHT_IN)
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots()
        plots.draw_each(axes, tables["losses"], "variant", "loss")
        plots.label(axes, "Training loss")
        plots.legend(drawn, axes)
    return drawn


def memory_figure(tables: Tables) -> Figure:
    """Bars of the bytes that a tuning decides on, a row per variant."""
    frame = tables["costs"]
    with mpl.rc_context(plots.STYLE):
        size = (1.6 * plots.WIDTH_IN, 1.0 + 0.35 * len(frame))
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots()
        begin = np.zeros(len(frame))
        for place, name in enumerate(("optimizer", "gradient")):
            kib = frame[f"{name}_bytes"].to_numpy() / _KIB
            colour = plots.SERIES_COLOURS[place]
            axes.barh(frame["variant"], kib, left=begin, color=colour, label=name)
            begin += kib
        axes.invert_yaxis()
        axes.set_xlabel("Memory (KiB)")
        plots.legend(drawn, axes)
    return drawn


def summary(tables: Tables, baseline: str) -> Iterator[str]:
    """What the tables say, in sentences that are computed from them alone."""
    memory = tables["costs"].set_index("variant")["optimizer_bytes"]
    shares = [
        f"{variant} {100 * share:.0f} %"
        for variant, share in (memory.drop(baseline) / memory[baseline]).items()
    ]
    yield f"Of the optimiser's bytes under {baseline} the others have: {listed(shares)}."
    frame = tables["differences"]
    for name, words in (("win_rate", "the pool's rate"), ("gold_win_rate", "gold")):
        rows = frame[(frame["figure"] == name) & (frame["adjusted"] < LEVEL)].to_dict("records")
        told = [f"{row['variant']} ({figure(row, 'difference', 1)} points)" for row in rows]
        found = listed(told) if told else "none"
        yield f"Told apart from {baseline} by {words} (Holm, 5 %): {found}."
