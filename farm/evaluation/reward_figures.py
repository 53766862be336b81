"""The figures of a reward as tables, from the items of farm.stages.reward_quality.

Accuracies are percent; what the figures are stands in `farm.evaluation.reward_models`. Every figure
has its 95 % interval beside it, in the columns `_low` and `_high`.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from farm.data.reward_bench import SECTIONS
from farm.evaluation.intervals import NOTHING, REPLICATES, Interval
from farm.evaluation.reward_models import (
    Categories,
    Judged,
    accuracy,
    calibration,
    categories,
    judged,
    length_correlations,
    sections,
)

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float | int | str]

LABELS = ("clean", "noisy", "gold")
"""Who says which answer is better: the annotators without noise, as in training, true utility."""

FIGURES = (
    "accuracy",
    "annotators",
    "brier",
    "calibration_error",
    "slope",
    "score_length",
    "label_length",
)


def label_figures(
    items: "pd.DataFrame", *, seed: int = 0, replicates: int = REPLICATES
) -> "pd.DataFrame":
    """One row per kind of `labels`: how many `pairs` count, and `FIGURES`.

    `annotators` is the accuracy of the annotators without noise on the same labels, were their
    verdicts the scores: the ceiling on noisy labels, and on gold what their bias leaves. Pairs that
    gold does not tell apart have no gold label. A figure that nothing is known of is NaN.
    """
    import pandas as pd

    sides = (1 + np.sign(items["gold"])) / 2
    told = items.assign(gold=sides.where(sides != 0.5))
    rows = [
        {"labels": labels, **_row(told.assign(preference=told[labels]), seed, replicates)}
        for labels in LABELS
    ]
    return pd.DataFrame(rows)


def _row(frame: "pd.DataFrame", seed: int, replicates: int) -> Row:
    pairs = _judged(frame, seed, replicates)
    if pairs is None:
        return {"pairs": 0, **dict.fromkeys(_columns(FIGURES), np.nan)}
    as_scores = pairs.frame.assign(score_a=0.0, score_b=pairs.frame["clean"] - 0.5)
    annotators = _judged(as_scores, seed, replicates)
    calibrated, length = calibration(pairs), length_correlations(pairs)
    found = {
        "accuracy": _percent(accuracy(pairs)),
        "annotators": _percent(accuracy(annotators)) if annotators else NOTHING,
        "brier": calibrated.brier,
        "calibration_error": calibrated.error,
        "slope": calibrated.slope,
        "score_length": length.score,
        "label_length": length.label,
    }
    return {"pairs": len(pairs.frame), **_with_ends(found)}


def _judged(frame: "pd.DataFrame", seed: int, replicates: int) -> Judged | None:
    """None where no pair has scores and a verdict."""
    if not frame[["score_a", "score_b", "preference"]].notna().all(axis=1).any():
        return None
    return judged(frame, seed=seed, replicates=replicates)


def bench_figures(
    items: "pd.DataFrame", *, seed: int = 0, replicates: int = REPLICATES
) -> "pd.DataFrame":
    """One row per `part`: its `kind` (mean, section or category) and `accuracy`.

    A file that has RewardBench's categories alone has its sections; the mean, first, is that of the
    sections where there are any, else of the categories. Empty where no pair is scored.
    """
    import pandas as pd

    pairs = _judged(items, seed, replicates)
    return pd.DataFrame(list(_parts(pairs)) if pairs else [])


def _parts(pairs: Judged) -> Iterator[Row]:
    by_category = categories(pairs)
    listed = {category for part in SECTIONS.values() for category in part}
    of_bench = by_category.accuracies.keys() <= listed
    by_section = sections(pairs, SECTIONS) if of_bench else Categories({}, by_category.mean)
    yield _part("mean", "mean", by_section.mean)
    for name, interval in by_section.accuracies.items():
        yield _part("section", name, interval)
    for name, interval in by_category.accuracies.items():
        yield _part("category", name, interval)


def _part(kind: str, part: str, found: Interval) -> Row:
    return {"kind": kind, "part": part, **_with_ends({"accuracy": _percent(found)})}


def _percent(share: Interval) -> Interval:
    return Interval(*(100 * end for end in share))


def _with_ends(found: Mapping[str, Interval]) -> dict[str, float]:
    values = [value for interval in found.values() for value in interval]
    return dict(zip(_columns(found), values, strict=True))


def _columns(names: Mapping[str, Interval] | tuple[str, ...]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
