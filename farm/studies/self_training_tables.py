"""What a self-training study says: accuracy round by round, and what thresholds keep."""

from typing import TYPE_CHECKING

import numpy as np

from farm.data.diversity import distinct_n
from farm.protocols import FloatArray
from farm.stages.verification import SCORED
from farm.studies.over_seeds import differences, over_seeds
from farm.studies.self_training_job import Measured

if TYPE_CHECKING:
    import pandas as pd

ROUND_FIGURES = ("accuracy", "kept", "kept_share", "precision", "valid", "new", "distinct_2")
"""Shares but distinct_2 are in percent."""
THRESHOLD_FIGURES = ("precision", "kept_share")


def self_training_tables(measured: Measured, baseline: str) -> dict[str, "pd.DataFrame"]:
    """`rounds`, one row per variant and round (0: the start): `ROUND_FIGURES`, with intervals over
    seeds; `differences` of the last round's accuracy from the baseline's and `gains` over the
    start at its best temperature (`farm.studies.over_seeds`); `thresholds`, one row per assessment
    and threshold; `rules`, mean tasks dropped by each rule per variant and round; `starts`,
    accuracy of the start by temperature; `costs`."""
    import pandas as pd

    per_round, starts = _per_round(measured), _starts(measured, baseline)
    first = measured.candidates[measured.candidates["round"] == 1]
    last = per_round[per_round["round"] == per_round["round"].max()]
    best = starts.loc[starts.groupby("seed")["accuracy"].idxmax()].assign(variant=START)
    costs = measured.costs.groupby("variant", sort=False)[["flops", "wall_s"]].mean()
    return {
        "rounds": over_seeds(per_round, ["variant", "round"], ROUND_FIGURES),
        "differences": differences(last, baseline, [], ["accuracy"]),
        "gains": differences(pd.concat([last, best]), START, [], ["accuracy"]),
        "thresholds": over_seeds(
            _thresholds(first[first["variant"] == baseline]),
            ["assessment", "threshold"],
            THRESHOLD_FIGURES,
        ),
        "rules": _rules(measured.candidates),
        "starts": over_seeds(starts, ["temperature"], ["accuracy"]),
        "costs": costs.reset_index(),
    }


START = "start at its best temperature"
"""Best by the verifier: the hardest start to beat."""


def _per_round(measured: Measured) -> "pd.DataFrame":
    """One row per seed, variant and round."""
    import pandas as pd

    of = ["seed", "variant", "round"]
    answers = measured.answers[measured.answers["policy"].str.isdigit()]
    answers = answers.assign(round=answers["policy"].astype(int))
    accuracy = 100 * answers.groupby(of, sort=False)["verdict"].mean().rename("accuracy")
    rounds = measured.candidates.groupby(of, sort=False)
    written = pd.DataFrame([{**dict(zip(of, key, strict=True)), **_round(r)} for key, r in rounds])
    return accuracy.reset_index().merge(written, on=of, how="left")


def _round(rows: "pd.DataFrame") -> dict[str, float]:
    """Of the tasks of one round; an answer to a task that the verifier does not understand is
    wrong."""
    answered = rows[rows["answer"].notna()]
    right = rows["verdict"].fillna(0)[rows["kept"]]
    return {
        "kept": float(rows["kept"].sum()),
        "kept_share": 100 * float(rows["kept"].mean()),
        "precision": 100 * float(right.mean()),
        "valid": 100 * float(answered["verdict"].notna().mean()),
        "new": 100 * float(rows["text"].nunique() / len(rows)),
        "distinct_2": distinct_n(rows["text"].tolist(), 2),
    }


def _thresholds(first: "pd.DataFrame") -> "pd.DataFrame":
    """One row per seed, assessment and threshold: which share of the first round's tasks reaches
    it, and which share of these is right."""
    import pandas as pd

    columns = [str(name) for name in first if str(name).startswith(SCORED)]
    rows = []
    for seed, tasks in first.groupby("seed", sort=False):
        right_N = tasks["verdict"].fillna(0).to_numpy()
        for column in columns:
            scores_N = tasks[column].to_numpy()
            for threshold in _levels(first[column].to_numpy()):
                kept_N = np.nan_to_num(scores_N, nan=-np.inf) >= threshold
                rows.append(
                    {
                        "seed": seed,
                        "assessment": column.removeprefix(SCORED),
                        "threshold": threshold,
                        "precision": 100 * right_N[kept_N].mean() if kept_N.any() else np.nan,
                        "kept_share": 100 * kept_N.mean(),
                    }
                )
    names = ["seed", "assessment", "threshold", *THRESHOLD_FIGURES]
    return pd.DataFrame(rows, columns=names)


def _levels(scores: FloatArray) -> list[float]:
    """The different scores, lowest first."""
    return sorted(set(scores[~np.isnan(scores)].tolist()))


def _rules(candidates: "pd.DataFrame") -> "pd.DataFrame":
    """Mean tasks of a seed that each rule dropped."""
    import pandas as pd

    of = ["variant", "round", "dropped_by"]
    seeds = candidates["seed"].nunique()
    counts: pd.DataFrame = (
        candidates.groupby(of, sort=False).size().div(seeds).reset_index(name="tasks")
    )
    return counts


def _starts(measured: Measured, baseline: str) -> "pd.DataFrame":
    """The start's accuracy, one row per seed and temperature; all variants share it."""
    name = "start at temperature "
    rows = measured.answers[
        (measured.answers["variant"] == baseline) & measured.answers["policy"].str.startswith(name)
    ]
    rows = rows.assign(temperature=rows["policy"].str.removeprefix(name).astype(float))
    means = 100 * rows.groupby(["seed", "temperature"])["verdict"].mean().rename("accuracy")
    return means.reset_index()
