"""The report of a reward-model study: tables, a figure, a page that needs no other file, the
terminal, and the tables as Markdown, from the frames of farm.studies.reward_model_tables.

Accuracies are percent of labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from farm.evaluation.comparisons import LEVEL
from farm.evaluation.reward_figures import LABELS
from farm.reporting import plots
from farm.reporting import reward_layouts as words
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

_VARIANT = {"variant": "Reward model"}
_FLOP = 1e12
_ROW_IN = 0.38
"""Height of a variant in the figure."""
_MARKERS = ("o", "D", "s")


def write_reward_models(folder: Path, tables: Tables, baseline: str) -> list[Path]:
    """Write each table as NAME.csv, the figure as PNG, `reward_models.html` and
    `reward_models.md`; the paths of the last two."""
    page, text = folder / "reward_models.html", folder / "reward_models.md"
    caption = f"Accuracy less that of {baseline} on the same seed, by labels; 95 % intervals"
    drawn = Drawn("differences", caption, difference_figure(tables["differences"]))
    shown = [accuracies(tables), calibration(tables, ("noisy", "clean")), length(tables)]
    compared = accuracy_differences(tables, baseline), other_differences(tables, baseline)
    sections = [
        Section("figures", "Reward models", [], shown),
        Section("differences", f"Against {baseline}", [drawn], compared),
        Section("costs", "Costs", [], [costs(tables)]),
    ]
    write_tables(folder, tables)
    write_page(page, INTERVALS, {"In words": list(summary(tables, baseline))}, sections)
    layouts = [*shown, *compared, costs(tables)]
    text.write_text("\n".join(map(_markdown, layouts)), encoding="utf-8")
    return [page, text]


def _markdown(layout: Layout) -> str:
    figures = [f"{c.title} ({c.unit})" if c.unit else c.title for c in layout.figures]
    table = markdown_table(list(layout.names.values()), figures, layout.lines)
    return f"**{literal(layout.title)}.** {literal(layout.caption)}\n\n{table}\n"


def print_reward_models(tables: Tables, baseline: str, console: Console) -> None:
    """Accuracies, calibration, differences of accuracy and costs."""
    for layout in (
        accuracies(tables),
        calibration(tables, ("noisy",)),
        length(tables),
        accuracy_differences(tables, baseline),
        costs(tables),
    ):
        print_layout(layout, console)
    console.print(words.ABOUT_CALIBRATION)


# ----------------------------------------------------------------------------------- layouts


def _means(tables: Tables, figures: Sequence[str]) -> pd.DataFrame:
    """One row per variant, columns `LABELS FIGURE`."""
    return side_by_side(tables["reward_models"], ["variant"], "labels", figures)


def accuracies(tables: Tables) -> Layout:
    """Which answers score higher."""
    seeds = tables["costs"]["seeds"].max()
    return Layout(
        "Accuracy",
        f"Percent of labels that the scores get right; means over {seeds} seeds with 95 % "
        f"intervals by Student's t. {words.ABOUT_LABELS}",
        _VARIANT,
        [
            Column("Clean", "%", "clean accuracy", 1),
            Column("Noisy", "%", "noisy accuracy", 1),
            Column("Ceiling", "% noisy", "noisy annotators", 1),
            Column("Gold", "%", "gold accuracy", 1),
            Column("Annotators", "% gold", "gold annotators", 1),
        ],
        _means(tables, ("accuracy", "annotators")),
    )


def calibration(tables: Tables, labels: Sequence[str]) -> Layout:
    """What score differences mean, by these kinds of labels."""
    shown = (words.BRIER, words.ERROR, words.SLOPE)
    return Layout(
        f"Calibration on {listed(labels)} labels",
        words.ABOUT_CALIBRATION,
        _VARIANT,
        [
            column._replace(unit=kind, source=f"{kind} {column.source}")
            for kind in labels
            for column in shown
        ],
        _means(tables, [column.source for column in shown]),
    )


def length(tables: Tables) -> Layout:
    """What length has to do with scores and labels."""
    return Layout(
        "Length",
        f"{words.ABOUT_LENGTH} Beside it the same of the labels.",
        _VARIANT,
        [
            Column("Scores", "ρ", "clean score_length", 2),
            Column("Clean labels", "ρ", "clean label_length", 2),
            Column("Gold", "ρ", "gold label_length", 2),
        ],
        _means(tables, ("score_length", "label_length")),
    )


def _differences(tables: Tables, name: str) -> pd.DataFrame:
    frame = tables["differences"]
    of_figure = frame[frame["figure"] == name]
    return side_by_side(of_figure, ["variant"], "labels", ["difference", "adjusted"])


_ABOUT_DIFFERENCES = (
    "Seed by seed on the same pairs; means over seeds with 95 % intervals by Student's t, and "
    "p-values adjusted for the number of variants (Holm), each column by itself."
)


def accuracy_differences(tables: Tables, baseline: str) -> Layout:
    """Who is more accurate than the baseline."""
    return Layout(
        f"Accuracy less that of {baseline}",
        f"In points of percent. {_ABOUT_DIFFERENCES}",
        _VARIANT,
        [
            column
            for kind in LABELS
            for column in (
                Column(kind.capitalize(), "points", f"{kind} difference", 1),
                Column("Holm", "p", f"{kind} adjusted", 3),
            )
        ],
        _differences(tables, "accuracy"),
    )


def other_differences(tables: Tables, baseline: str) -> Layout:
    """Whose scores mean more, and who looks more at length."""
    brier, about_length = _differences(tables, "brier"), _differences(tables, "score_length")
    both = brier.merge(about_length, on="variant", suffixes=(" brier", " length"))
    return Layout(
        f"Brier score and length less those of {baseline}",
        f"The Brier score is on noisy labels; lower is better. {_ABOUT_DIFFERENCES}",
        _VARIANT,
        [
            Column("Brier", "", "noisy difference", 3),
            Column("Holm", "p", "noisy adjusted brier", 3),
            Column("Length", "ρ", "clean length", 2),
            Column("Holm", "p", "clean adjusted length", 3),
        ],
        both,
    )


def costs(tables: Tables) -> Layout:
    """What training took."""
    frame = tables["costs"]
    return Layout(
        "Costs",
        "Means over seeds, without the start policy and the labels, which all share: "
        "floating-point operations and seconds of training. Not scored: pairs that lack a score.",
        _VARIANT,
        [
            Column("Training", "10¹² FLOP", "training", 1),
            Column("Wall time", "s", "wall_s", 0),
            Column("Not scored", "pairs", "unscored", 0),
        ],
        frame.assign(training=frame["flops"] / _FLOP),
    )


# ------------------------------------------------------------------------- figure and words


def difference_figure(frame: pd.DataFrame) -> Figure:
    """A line per variant, a marker with its interval per kind of labels; 0 is the baseline."""
    accuracy = frame[frame["figure"] == "accuracy"]
    names = accuracy["variant"].unique().tolist()
    places = np.arange(len(names))[::-1]
    with mpl.rc_context(plots.STYLE):
        size = (2 * plots.WIDTH_IN, 1.3 + _ROW_IN * len(names))
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots()
        axes.axvline(0, color=plots.INK, linewidth=0.8)
        for number, (labels, marker) in enumerate(zip(LABELS, _MARKERS, strict=True)):
            rows = accuracy[accuracy["labels"] == labels].set_index("variant").loc[names]
            mean, low, high = (rows[f"difference{end}"] for end in ("", "_low", "_high"))
            axes.errorbar(
                mean, places - 0.2 * (number - 1), xerr=np.stack([mean - low, high - mean]),
                fmt=marker, color=plots.SERIES_COLOURS[number], label=labels,
                markersize=4, elinewidth=0.9,
            )  # fmt: skip
        axes.set_yticks(places, names)
        axes.set_xlabel("Accuracy less the baseline's (points)")
        plots.legend(drawn, axes)
    return drawn


def summary(tables: Tables, baseline: str) -> Iterator[str]:
    """What the tables say, in sentences that are computed from them alone."""
    means, frame = tables["reward_models"], tables["differences"]
    for labels in LABELS:
        rows = means[(means["labels"] == labels) & means["accuracy"].notna()].to_dict("records")
        if rows:
            best = max(rows, key=lambda row: float(row["accuracy"]))
            theirs = f"{best['variant']} with {figure(best, 'accuracy', 1)} %"
            of = frame[(frame["figure"] == "accuracy") & (frame["labels"] == labels)]
            yield f"On {labels} labels the most accurate is {theirs}. {_told_apart(of, baseline)}"
    yield words.ABOUT_CALIBRATION


def _told_apart(frame: pd.DataFrame, baseline: str) -> str:
    told = frame[frame["adjusted"] < LEVEL]
    better, worse = told[told["difference"] > 0], told[told["difference"] < 0]
    parts = [
        f"{how} than {baseline} by more than chance {'is' if len(rows) == 1 else 'are'} "
        + listed([f"{r['variant']} ({figure(r, 'difference', 1)})" for r in rows.to_dict("records")])
        for how, rows in (("More accurate", better), ("less accurate", worse))
        if len(rows)
    ]
    if not parts:
        return f"None of {len(frame)} is told apart from {baseline} (Holm, 5 %)."
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]} (points; Holm, 5 %)."
