"""The report of a reward-model study: tables, a figure, a page that needs no other file, the
terminal, and the tables as Markdown, from the frames of farm.studies.reward_model_tables.

Accuracies are percent of labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from farm.evaluation.comparisons import LEVEL
from farm.evaluation.reward_figures import LABELS
from farm.reporting import plots
from farm.reporting import reward_layouts as words
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

_VARIANT = {"variant": "Reward model"}
_ANNOTATORS = "(annotators without noise)"
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
    shown = [accuracies(tables, baseline), calibration(tables, ("noisy", "clean")), length(tables)]
    compared = accuracy_differences(tables, baseline), other_differences(tables, baseline)
    sections = [
        Section("figures", "Reward models", [], shown),
        Section("differences", f"Against {baseline}", [drawn], compared),
        Section("costs", "Costs", [], [costs(tables)]),
    ]
    write_tables(folder, tables)
    write_page(page, INTERVALS, {"In words": list(summary(tables, baseline))}, sections)
    layouts = [*shown, *compared, costs(tables)]
    text.write_text("\n".join(map(layout_markdown, layouts)), encoding="utf-8")
    return [page, text]


def print_reward_models(tables: Tables, baseline: str, console: Console) -> None:
    """Accuracies, calibration, differences of accuracy and costs."""
    for layout in (
        accuracies(tables, baseline),
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


def accuracies(tables: Tables, baseline: str) -> Layout:
    """Whose scores agree with labels, and below the annotators' own agreement with them."""
    frame, seeds = tables["reward_models"], tables["costs"]["seeds"].max()
    ceiling = side_by_side(
        frame[frame["variant"] == baseline], ["variant"], "labels", ["annotators"]
    )
    ceiling.columns = ceiling.columns.str.replace("annotators", "accuracy")
    return Layout(
        "Accuracy",
        f"Percent of labels that the scores get right; means over {seeds} seeds with 95 % "
        f"intervals by Student's t. {words.ABOUT_LABELS}",
        _VARIANT,
        [Column(kind.capitalize(), "%", f"{kind} accuracy", 1) for kind in LABELS],
        pd.concat([_means(tables, ["accuracy"]), ceiling.assign(variant=_ANNOTATORS)]),
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
            Column("Scores", "correlation", "clean score_length", 2),
            Column("Clean labels", "correlation", "clean label_length", 2),
            Column("Gold", "correlation", "gold label_length", 2),
        ],
        _means(tables, ("score_length", "label_length")),
    )


def _differences(tables: Tables) -> pd.DataFrame:
    """One row per variant, columns `LABELS FIGURE difference` and `LABELS FIGURE adjusted`."""
    frame = tables["differences"]
    of = frame.assign(of=frame["labels"] + " " + frame["figure"])
    return side_by_side(of, ["variant"], "of", ["difference", "adjusted"])


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
        with_p_values(
            *(Column(kind.capitalize(), "points", f"{kind} accuracy", 1) for kind in LABELS)
        ),
        _differences(tables),
    )


def other_differences(tables: Tables, baseline: str) -> Layout:
    """Whose scores mean more, and who looks more at length."""
    return Layout(
        f"Brier score and length less those of {baseline}",
        f"The Brier score is on noisy labels; lower is better. {_ABOUT_DIFFERENCES}",
        _VARIANT,
        with_p_values(
            words.BRIER._replace(source="noisy brier"),
            words.LENGTH._replace(source="clean score_length"),
        ),
        _differences(tables),
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
    sides = {
        "more accurate": told[told["difference"] > 0],
        "less accurate": told[told["difference"] < 0],
    }
    parts = [
        f"{how} {'is' if len(rows) == 1 else 'are'} "
        + listed([_difference(row) for row in rows.to_dict("records")])
        for how, rows in sides.items()
        if len(rows)
    ]
    if not parts:
        return f"None of {len(frame)} is told apart from {baseline} (Holm, 5 %)."
    return f"Told apart from {baseline} (points; Holm, 5 %): {'; '.join(parts)}."


def _difference(row: Mapping[Any, Any]) -> str:
    return f"{row['variant']} ({figure(row, 'difference', 1)})"
