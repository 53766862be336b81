"""What a comparison says: win rates with intervals, who can be told apart, and costs."""

from typing import TYPE_CHECKING

import numpy as np

from farm.evaluation.intervals import crossed_replicates, percentiles_of_rows
from farm.evaluation.length_control import length_controlled_values
from farm.evaluation.ranking import rank
from farm.protocols import FloatArray
from farm.studies.comparison_job import Compared

if TYPE_CHECKING:
    import pandas as pd

RATES = ("pool", "held_out", "length_controlled", "gold")
"""Win rates in percent."""
COSTS = ("judgments", "prompts", "flops", "wall_s", "drawn")


def comparison_tables(compared: Compared) -> dict[str, "pd.DataFrame"]:
    """`comparison`, one row per policy: learned ones first, each part's best first; the win rates
    `RATES`, each with its interval over seeds and instructions, the letters of the groups that are
    not told apart by the pool, and mean `COSTS`. `pairs` are all comparisons behind the letters
    (farm.evaluation.comparisons), `trials` what was tried."""
    import pandas as pd

    answers = with_verdicts(compared.answers)
    ranking = rank(values(answers, "pool"))
    groups = pd.Series({place.name: place.letters for place in ranking.policies}, name="letters")
    rates = [rates_of(answers, name) for name in RATES]
    costs = compared.costs.groupby("policy")[list(COSTS)].mean()
    table = groups.to_frame().join([_about(compared.costs), *rates, costs])
    table = table.sort_values("learned", ascending=False, kind="stable")
    return {
        "comparison": table.rename_axis("policy").reset_index(),
        "pairs": pd.DataFrame(ranking.comparisons),
        "trials": compared.trials,
    }


def with_verdicts(answers: "pd.DataFrame") -> "pd.DataFrame":
    """The rows with columns for the win rates, each in [0, 1] but the length-controlled one, whose
    mean is one. The pool is without noise where it is a program, else estimated by its verdicts;
    the length-controlled rate is the pool's."""
    pool = "expectation" if answers["expectation"].notna().any() else "preference"
    gain = np.sign(answers["gold"] - answers["gold_reference"])
    told = answers.assign(pool=answers[pool], gold=(1 + gain) / 2, length_controlled=np.nan)
    for _, rows in told.groupby(["policy", "seed"], sort=False):
        told.loc[rows.index, "length_controlled"] = _length_controlled(rows) / 100
    return told


def _length_controlled(rows: "pd.DataFrame") -> FloatArray:
    named = {"length_reference": "length_baseline", "length": "length_model"}
    return length_controlled_values(rows.assign(preference=rows["pool"]).rename(columns=named))


def values(answers: "pd.DataFrame", verdict: str) -> dict[str, FloatArray]:
    """One verdict by policy, over seeds and instructions [S, N]."""
    wide = answers.pivot(index=["policy", "seed"], columns="instruction_id", values=verdict)
    return {
        policy: wide.loc[policy].to_numpy(dtype=np.float64) for policy in answers["policy"].unique()
    }


def rates_of(answers: "pd.DataFrame", verdict: str) -> "pd.DataFrame":
    """The mean verdict in percent by policy, with `_low` and `_high`; crossed bootstrap."""
    import pandas as pd

    of = values(answers, verdict)
    found = crossed_replicates(100 * np.stack(list(of.values())), seed=0)
    rates_M_R = np.column_stack([found.estimates_M, found.replicates_R_M.T])
    ends = [verdict, f"{verdict}_low", f"{verdict}_high"]
    rows = [dict(zip(ends, percentiles_of_rows(rates_R), strict=True)) for rates_R in rates_M_R]
    return pd.DataFrame(rows, index=pd.Index(of))


def _about(costs: "pd.DataFrame") -> "pd.DataFrame":
    """By policy: whether it is learned, with which settings, on how many seeds, and on how many of
    them it is the reference."""
    roles = costs.assign(
        learned=costs["role"] == "learned", reference_of=costs["role"] == "reference", seeds=1
    )
    of = roles.groupby("policy")
    counted = of[["seeds", "reference_of"]].sum()
    return counted.join(of[["learned", "settings"]].first())
