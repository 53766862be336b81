"""The report of a self-training study: tables, figures, a page that needs no other file, the
terminal, and the tables as Markdown, from the frames of farm.studies.self_training_tables.

Accuracies and shares are percent.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from farm.evaluation.comparisons import LEVEL
from farm.reporting import plots
from farm.reporting.markdown import literal, markdown_table
from farm.reporting.study_layouts import Layout
from farm.reporting.study_sections import (
    INTERVALS,
    Drawn,
    Section,
    print_layout,
    write_page,
    write_tables,
)
from farm.reporting.study_words import figure
from farm.reporting.views import Column

Tables = Mapping[str, pd.DataFrame]

_ACCURACY = Column("Accuracy", "%", "accuracy", 1)
_PRECISION = Column("Right", "% of kept", "precision", 1)
_KEPT = Column("Kept", "% of tasks", "kept_share", 1)
_DIFFERENCE = (
    Column("Difference", "points", "difference", 1), Column("Holm", "p", "adjusted", 3),
)  # fmt: skip
_ABOUT_DIFFERENCES = (
    "Accuracy after the last round, seed by seed on the same instructions; means over seeds with "
    "95 % intervals by Student's t, and p-values adjusted for the number of rows (Holm)."
)
PUBLISHED = {
    "continued": "training the newest policy on",
    "cumulative": "training the base on the data of all rounds",
}
"""What the paper says is worse than its own way, by the names of `conf/experiment/isheep.yaml`."""


def write_self_training(folder: Path, tables: Tables, baseline: str) -> list[Path]:
    """Write each table as NAME.csv, the figures as PNG, `self_training.html` and
    `self_training.md`; the paths of the last two."""
    page, text = folder / "self_training.html", folder / "self_training.md"
    drawn = [
        Drawn("accuracy", "Accuracy by round; 95 % intervals", rounds_figure(tables["rounds"])),
        Drawn(
            "precision",
            "Right answers among those that reach a threshold, and how many do",
            thresholds_figure(tables["thresholds"]),
        ),
    ]
    layouts = _layouts(tables, baseline)
    by_round, compared, chosen, costs = layouts[:2], layouts[2:4], layouts[4:6], layouts[6:]
    sections = [
        Section("rounds", "Rounds", drawn[:1], by_round),
        Section("differences", f"Against {baseline}, and against the start", [], compared),
        Section("thresholds", "What thresholds keep", drawn[1:], chosen),
        Section("costs", "Costs", [], costs),
    ]
    write_tables(folder, tables)
    write_page(page, INTERVALS, {"In words": list(summary(tables, baseline))}, sections)
    text.write_text("\n".join(map(_markdown, layouts)), encoding="utf-8")
    return [page, text]


def print_self_training(tables: Tables, baseline: str, console: Console) -> None:
    """Rounds, differences and thresholds, and what they say."""
    rounds, _, *compared = _layouts(tables, baseline)
    for layout in (rounds, *compared[:3]):
        print_layout(layout, console)
    for sentence in summary(tables, baseline):
        console.print(sentence, markup=False)


def _markdown(layout: Layout) -> str:
    figures = [f"{c.title} ({c.unit})" if c.unit else c.title for c in layout.figures]
    table = markdown_table(list(layout.names.values()), figures, layout.lines)
    return f"**{literal(layout.title)}.** {literal(layout.caption)}\n\n{table}\n"


# ----------------------------------------------------------------------------------- layouts


def _layouts(tables: Tables, baseline: str) -> list[Layout]:
    return [
        _rounds(tables["rounds"]),
        _starts(tables["starts"]),
        _compared(f"Accuracy less that of {baseline}", tables["differences"]),
        _compared("Accuracy less that of the start", tables["gains"]),
        _thresholds(tables["thresholds"]),
        _rules(tables["rules"]),
        _costs(tables["costs"]),
    ]


def _rounds(frame: pd.DataFrame) -> Layout:
    return Layout(
        "Rounds",
        "Accuracy on instructions that nobody trained on, at the temperature of evaluation; round "
        "0 is the start. Of a round's tasks: how many are kept, how many of these are answered "
        "right, how many of the answered ones the verifier understands, how many are different, "
        "and distinct bigrams as a share of all.",
        {"variant": "Variant", "round": "Round"},
        [
            _ACCURACY,
            _PRECISION,
            _KEPT,
            Column("Understood", "%", "valid", 1),
            Column("Different", "%", "new", 1),
            Column("Distinct-2", "", "distinct_2", 3),
        ],
        frame,
    )


def _starts(frame: pd.DataFrame) -> Layout:
    return Layout(
        "The start at other temperatures",
        "On the same instructions.",
        {"temperature": "Temperature"},
        [_ACCURACY],
        frame,
    )


def _compared(title: str, frame: pd.DataFrame) -> Layout:
    return Layout(title, _ABOUT_DIFFERENCES, {"variant": "Variant"}, _DIFFERENCE, frame)


def _thresholds(frame: pd.DataFrame) -> Layout:
    return Layout(
        "Thresholds",
        "The first round's tasks, whose answers the start wrote, by other assessments: how many "
        "reach a threshold, and how many of these are answered right.",
        {"assessment": "Assessment", "threshold": "Threshold"},
        [_PRECISION, _KEPT],
        frame,
    )


def _rules(frame: pd.DataFrame) -> Layout:
    return Layout(
        "Dropped by rules",
        "Tasks that broke each rule first; means over seeds.",
        {"variant": "Variant", "round": "Round", "dropped_by": "Rule"},
        [Column("Tasks", "", "tasks", 1)],
        frame,
    )


def _costs(frame: pd.DataFrame) -> Layout:
    return Layout(
        "Costs",
        "Means over seeds, without the start: training's floating-point operations, and seconds "
        "with the writing and answering of tasks.",
        {"variant": "Variant"},
        [Column("Training", "10¹² FLOP", "training", 1), Column("Wall time", "s", "wall_s", 0)],
        frame.assign(training=frame["flops"] / 1e12),
    )


# ------------------------------------------------------------------------- figures and words


def rounds_figure(frame: pd.DataFrame) -> Figure:
    """Accuracy and the precision of what is kept, by round, a line per variant."""
    with mpl.rc_context(plots.STYLE):
        drawn, (accuracy, precision) = plots.panels(2)
        plots.draw_each(accuracy, frame, "variant", "accuracy", "round")
        plots.draw_each(precision, frame, "variant", "precision", "round")
        plots.label(accuracy, "Accuracy (%)", "Round")
        plots.label(precision, "Right among kept (%)", "Round")
        plots.legend(drawn, accuracy)
    return drawn


def thresholds_figure(frame: pd.DataFrame) -> Figure:
    """Precision and share of what reaches a threshold, a line per assessment."""
    with mpl.rc_context(plots.STYLE):
        drawn, (precision, kept) = plots.panels(2)
        plots.draw_each(precision, frame, "assessment", "precision", "threshold")
        plots.draw_each(kept, frame, "assessment", "kept_share", "threshold")
        plots.label(precision, "Right among kept (%)", "Threshold")
        plots.label(kept, "Kept (% of tasks)", "Threshold")
        plots.legend(drawn, precision)
    return drawn


def summary(tables: Tables, baseline: str) -> Iterator[str]:
    """What the tables say, in sentences that are computed from them alone."""
    gains = tables["gains"].set_index("variant").to_dict("index")
    yield (
        f"After the last round {baseline} answers {_points(gains[baseline])} than the start at "
        f"its best temperature{_told(gains[baseline])}."
    )
    for row in tables["differences"].to_dict("records"):
        published = _published(row) if row["variant"] in PUBLISHED else ""
        yield f"{row['variant']}: {_points(row)} than {baseline}{_told(row)}.{published}"
    yield from _best_thresholds(tables["thresholds"])


def _points(row: Mapping[Any, Any]) -> str:
    return f"{figure(row, 'difference', 1)} points more right"


def _told(row: Mapping[Any, Any]) -> str:
    return ", told apart (Holm, 5 %)" if row["adjusted"] < LEVEL else ", not told apart"


def _published(row: Mapping[Any, Any]) -> str:
    """Whether the paper's finding shows here."""
    claim = f" Published: {PUBLISHED[row['variant']]} is worse than the newest data on the base. "
    if row["adjusted"] >= LEVEL or pd.isna(row["adjusted"]):
        return f"{claim}This does not show at this scale."
    return f"{claim}{'This shows here.' if row['difference'] < 0 else 'Here it is the reverse.'}"


def _best_thresholds(frame: pd.DataFrame) -> Iterator[str]:
    """How precision rises with the threshold."""
    for name, rows in frame.groupby("assessment", sort=False):
        ends = _with_precision(rows)
        if len(ends) > 1:
            low, high = ends[0], ends[-1]
            yield (
                f"{name}: right are {figure(low, 'precision', 1)} % of the answers that reach "
                f"{low['threshold']:g}, and {figure(high, 'precision', 1)} % of those that reach "
                f"{high['threshold']:g}."
            )


def _with_precision(rows: pd.DataFrame) -> Sequence[Mapping[Any, Any]]:
    return rows[rows["precision"].notna()].sort_values("threshold").to_dict("records")
