"""What a merging study says: performances by domain, and what merges gain over their parents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from farm.evaluation.comparisons import holm
from farm.evaluation.merging import MergeGain, merge_gain
from farm.studies.merging_job import Measured
from farm.studies.merging_study import EVERYWHERE
from farm.studies.over_seeds import over_seeds, p_values

if TYPE_CHECKING:
    import pandas as pd


def merging_tables(measured: Measured, parents: Sequence[str]) -> dict[str, "pd.DataFrame"]:
    """`performance`, one row per policy and domain (`both`: the mean of the two): role and score in
    percent; `gains`, one row per merge and domain: `farm.evaluation.merging.MergeGain` in points,
    with `p_value`, that over_best is 0, and `adjusted`, after Holm among the merges in a domain;
    `parallel`, one row per merge: what it logged. Means over seeds with 95 % intervals by
    Student's t."""
    scores = with_mean(measured.scores)
    gains = gains_of(scores, parents)
    by = ["policy", "domain"]
    found = over_seeds(gains, by, MergeGain._fields).assign(
        p_value=p_values(gains, by, "over_best")
    )
    adjusted = found.groupby("domain")["p_value"].transform(lambda p: holm(p.to_numpy(np.float64)))
    logged = [str(name) for name in measured.likeness if name not in ("seed", "policy")]
    return {
        "performance": over_seeds(scores, ["role", *by], ["score"]),
        "gains": found.assign(adjusted=adjusted),
        "parallel": over_seeds(measured.likeness, ["policy"], logged),
    }


def with_mean(scores: "pd.DataFrame") -> "pd.DataFrame":
    """The rows with those of a third domain, the mean of both."""
    import pandas as pd

    of = ["seed", "role", "policy"]
    means = scores.groupby(of, sort=False)["score"].mean().reset_index()
    return pd.concat([scores, means.assign(domain=EVERYWHERE)], ignore_index=True)


def gains_of(scores: "pd.DataFrame", parents: Sequence[str]) -> "pd.DataFrame":
    """One row per seed, merge and domain: a `MergeGain` over the parents on the same seed."""
    import pandas as pd

    index = ["seed", "domain"]
    first, second = (
        scores[scores["policy"] == parent].set_index(index)["score"] for parent in parents
    )
    rows = []
    for row in scores[scores["role"] == "merge"].to_dict("records"):
        of = (row["seed"], row["domain"])
        gain = merge_gain(row["score"], first.loc[of], second.loc[of])
        rows.append({**{name: row[name] for name in (*index, "policy")}, **gain._asdict()})
    return pd.DataFrame(rows)
