"""How good a reward is, as people read it: in a run's report and in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from farm.reporting.study_layouts import Layout
from farm.reporting.views import Column

ACCURACY = Column("Accuracy", "%", "accuracy", 1)
ANNOTATORS = Column("Annotators", "%", "annotators", 1)
BRIER = Column("Brier", "", "brier", 3)
ERROR = Column("ECE", "", "calibration_error", 3)
SLOPE = Column("Slope", "", "slope", 2)
LENGTH = Column("Length", "correlation", "score_length", 2)
PAIRS = Column("Pairs", "", "pairs", 0)

WHOLE = (ACCURACY, ANNOTATORS, BRIER, ERROR, SLOPE, LENGTH, PAIRS)
NARROW = (
    ACCURACY, ANNOTATORS, BRIER._replace(decimals=2), ERROR._replace(decimals=2), SLOPE, LENGTH,
)  # fmt: skip
"""What fits into 80 characters."""

ABOUT_LABELS = (
    "Clean labels are the annotators' without noise, exact where they are programs; noisy ones are "
    "the same as in training, drawn anew; gold has one where it prefers an answer. Annotators: "
    "what the annotators without noise would get right themselves, the ceiling on noisy labels "
    "and, on gold, what their bias leaves."
)
ABOUT_CALIBRATION = (
    "Brier score, expected calibration error (ECE) and slope take sigmoid(score difference) for "
    "the probability that an answer is better. Bradley-Terry models' scores are meant so; those of "
    "regression models are points of a rating and no log-odds. The slope says what the differences "
    "must be multiplied with."
)
ABOUT_LENGTH = (
    "Length: Spearman's correlation of the score difference with the difference in characters."
)


def reward_tables(
    info: Mapping[str, Any],
    columns: Sequence[Column] = WHOLE,
    kinds: Sequence[str] = ("mean", "section", "category"),
) -> list[Layout]:
    """Those that a run has: on pairs of the start's answers, and of these parts of a file."""
    found = info["reward_model"] or {}
    parts = [row for row in found.get("bench", ()) if row["kind"] in kinds]
    tables = [quality(pd.DataFrame(found["quality"]), columns)] if "quality" in found else []
    return [*tables, *([bench(pd.DataFrame(parts))] if parts else [])]


def quality(frame: pd.DataFrame, columns: Sequence[Column]) -> Layout:
    """One row per kind of labels, of `farm.evaluation.reward_figures.label_figures`."""
    return Layout(
        f"Reward model, on {frame['pairs'].max():,} pairs of the start's answers",
        "Two answers of the start policy at temperature 1 to each validation instruction, which "
        "nothing learned from; pairs of the same text are left out. Accuracy: share of the labels "
        f"that the scores get right. {ABOUT_LABELS} {ABOUT_CALIBRATION} {ABOUT_LENGTH}",
        {"labels": "Labels"},
        columns,
        frame,
    )


def bench(frame: pd.DataFrame) -> Layout:
    """Accuracy by part, of `farm.evaluation.reward_figures.bench_figures`."""
    return Layout(
        "Reward model, on chosen and rejected answers",
        "Share of the file's pairs whose chosen answer scores higher. The mean is that of "
        "RewardBench's sections where the file has them, else of its categories.",
        {"part": "Part", "kind": ""},
        [ACCURACY],
        frame.assign(kind=frame["kind"].replace("mean", "")),
    )
