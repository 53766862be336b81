"""What a study says about rankings: does the simulator rank policies as people do?

`policies` has the rows of farm.stages.crossing for every seed, annotators and policy. Values are
P(the policy's answer beats the reference's) over seeds [S] and instructions [N]. Three comparisons
(DESIGN: rules of measurement), each of a simulated ranking with the people's own, who train and
judge:

    end to end        simulated annotators train and judge
    evaluation only   people train, simulated annotators judge
    training only     simulated annotators train, people judge

Beside them stands how well the people's ranking by half of the seeds agrees with that by another
half: no simulator can be expected to do much better.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.evaluation.intervals import crossed_replicates, percentiles_of_rows
from farm.evaluation.ranking import Ranking, rank, rank_correlation
from farm.evaluation.variance import variance_components
from farm.protocols import FloatArray
from farm.stages.crossing import JUDGED

if TYPE_CHECKING:
    import pandas as pd

GOLD = "gold"
"""The evaluator that is never wrong."""

HALVES = "half the seeds against half"

_FEWEST = 3
"""Policies, since two always correlate perfectly."""

Values = dict[str, FloatArray]
"""By policy; [S, N]."""


def with_gold(policies: "pd.DataFrame") -> "pd.DataFrame":
    """The rows with a column for gold's verdict, ties half."""
    gain = np.sign(policies["gold"] - policies["gold_reference"])
    return policies.assign(**{f"{JUDGED}{GOLD}": (1 + gain) / 2})


def evaluators(policies: "pd.DataFrame") -> list[str]:
    """Names of those that judged."""
    names = map(str, policies.columns)
    return [name.removeprefix(JUDGED) for name in names if name.startswith(JUDGED)]


def values(policies: "pd.DataFrame", annotators: str, evaluator: str) -> Values:
    """What one evaluator thinks of the policies that these annotators' labels made."""
    rows = policies[policies["annotators"] == annotators]
    wide = rows.pivot(
        index=["policy", "seed"], columns="instruction_id", values=f"{JUDGED}{evaluator}"
    )
    names = rows["policy"].unique()
    return {name: wide.loc[name].to_numpy(dtype=np.float64) for name in names}


def win_rates(policies: "pd.DataFrame") -> "pd.DataFrame":
    """Percent against the reference, one row per annotators, policy and evaluator: win_rate with
    its interval over seeds and instructions; and whether the policy is `learned`."""
    import pandas as pd

    learned = policies.groupby("policy")["learned"].first()
    rows = []
    for annotators, evaluator in product(policies["annotators"].unique(), evaluators(policies)):
        found = values(policies, annotators, evaluator)
        rates = crossed_replicates(100 * np.stack(list(found.values())), seed=0)
        rates_M_R = np.column_stack([rates.estimates_M, rates.replicates_R_M.T])
        for policy, rates_R in zip(found, rates_M_R, strict=True):
            row = {"annotators": annotators, "policy": policy, "learned": learned[policy]}
            ends = ("win_rate", "win_rate_low", "win_rate_high")
            interval = dict(zip(ends, percentiles_of_rows(rates_R), strict=True))
            rows.append({**row, "evaluator": evaluator, **interval})
    return pd.DataFrame(rows)


def controls(policies: "pd.DataFrame") -> "pd.DataFrame":
    """`win_rates` of what learned from labels that should be of no use; empty without any."""
    if policies.empty:
        return policies
    found = win_rates(with_gold(policies))
    return found[found["learned"].astype(bool)].reset_index(drop=True)


def correlations(policies: "pd.DataFrame", human: str) -> "pd.DataFrame":
    """Spearman's and Kendall's correlation of the simulated with the people's ranking, for each
    simulated annotators and comparison, of all policies and of the learned ones alone; with
    intervals that resample seeds and instructions. Fewer than three policies have none."""
    import pandas as pd

    return pd.DataFrame(list(_correlations(policies, human)))


def _correlations(policies: "pd.DataFrame", human: str) -> Iterator[dict[str, Any]]:
    learned = policies.loc[policies["learned"], "policy"].unique()
    which = {"all": policies["policy"].unique(), "learned": learned}
    for row, x, y in _compared(policies, human):
        for kind, names in which.items():
            if len(names) >= _FEWEST:
                yield row | {"policies": kind} | _correlation(x, y, names)


def _compared(
    policies: "pd.DataFrame", human: str
) -> Iterator[tuple[dict[str, str], Values, Values]]:
    truth = values(policies, human, human)
    for annotators in (name for name in policies["annotators"].unique() if name != human):
        simulated = {
            "end to end": (annotators, annotators),
            "evaluation only": (human, annotators),
            "training only": (annotators, human),
        }
        for comparison, (trains, judges) in simulated.items():
            row = {"annotators": annotators, "comparison": comparison}
            yield row, values(policies, trains, judges), truth
    half = next(iter(truth.values())).shape[0] // 2
    if half:
        one = {name: v[:half] for name, v in truth.items()}
        other = {name: v[half : 2 * half] for name, v in truth.items()}
        yield {"annotators": human, "comparison": HALVES}, one, other


def _correlation(x: Values, y: Values, names: Sequence[str]) -> dict[str, Any]:
    both = (np.stack([side[name] for name in names]) for side in (x, y))
    found = rank_correlation(*both, seed=0)
    row: dict[str, Any] = {"n": len(names)}
    for name, interval in zip(("spearman", "kendall"), found, strict=True):
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
    return row


def places(policies: "pd.DataFrame", human: str, first: str) -> dict[str, "pd.DataFrame"]:
    """`places` and `comparisons` of the policies that each side made by its own judgment: win
    rates, Bradley-Terry strengths and ranks with intervals, letters of significance groups; and all
    pairs with Holm's p-values (farm.evaluation.ranking). The people come last."""
    import pandas as pd

    found = {side: rank(values(policies, side, side)) for side in (first, human)}
    return {
        "places": pd.concat([_places(of).assign(annotators=side) for side, of in found.items()]),
        "comparisons": pd.concat(
            [pd.DataFrame(of.comparisons).assign(annotators=side) for side, of in found.items()]
        ),
    }


def _places(found: Ranking) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for one in found.policies:
        row: dict[str, Any] = {"policy": one.name, "letters": one.letters}
        for name in ("win_rate", "strength", "rank"):
            ends = (name, f"{name}_low", f"{name}_high")
            row |= dict(zip(ends, getattr(one, name), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def variance(policies: "pd.DataFrame", first: str) -> "pd.DataFrame":
    """Where the variance of each policy's win rate comes from, one row per policy that `first`'s
    labels made, as their judge sees it: shares in percent of seed, instruction and residual, and
    the standard error (points). Empty with one seed."""
    import pandas as pd

    found = values(policies, first, first)
    seeds = next(iter(found.values())).shape[0]
    shown = found if seeds > 1 else {}
    components = {name: variance_components(100 * v) for name, v in shown.items()}
    return pd.DataFrame(
        [
            {"policy": name, **of.shares, "standard_error": of.standard_error}
            for name, of in components.items()
        ]
    )


def dose_response(
    policies: "pd.DataFrame", human: str, first: str, doses: Mapping[str, Sequence[float]]
) -> "pd.DataFrame":
    """What a dialled bias of the judge does to a ranking, one row per bias and dose (0 is the judge
    as it is): spearman with the people's ranking of the same policies, with its interval; the gold
    utility that is lost by choosing the policy the judge likes best; and the mean length
    (characters) of what it chooses. The policies are those that `first`'s labels made."""
    import pandas as pd

    truth = values(policies, first, human)
    utility = policies[policies["annotators"] == first].groupby("policy")["gold"].mean()
    length = policies[policies["annotators"] == first].groupby("policy")["length"].mean()
    rows = []
    for bias, of_bias in doses.items():
        for dose in (0.0, *of_bias):
            judge = f"{bias} {dose:g}" if dose else first
            found = values(policies, first, judge)
            best = max(found, key=lambda name: float(np.nanmean(found[name])))
            rows.append(
                {"bias": bias, "dose": dose, **_correlation(found, truth, list(truth))}
                | {"chosen": best, "regret": utility.max() - utility[best]}
                | {"chosen_length": length[best]}
            )
    return pd.DataFrame(rows)
