"""Preference leakage: what trained a policy judges it more kindly than others do.

Li et al. 2025 (arXiv 2502.01534) show it of language models. The score here is ours: the win rate
by the judge whose labels trained the policy, less the mean of those by the other judges.

    leakage_table(load_runs("runs"))
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from farm.artifacts import key_of
from farm.config import result_config
from farm.reporting.loading import Run
from farm.targets import keywords, nodes

GOLD = "gold"

_KEY_DIGITS = 6


def leakage_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row per training annotator (`annotators.clean`), one column per evaluator.

    Cells are win rates in percent of the selected checkpoint, means over `runs`; NaN where that
    evaluator judged none of the annotator's runs. `leakage`, in points, is the own judge's less the
    mean of the other judges'; NaN without any. Gold is no judge and stands apart.
    """
    runs = list(runs)
    names = _names(node for run in runs for node in _judges(run).values())
    rates = pd.DataFrame([row for run in runs for row in _rates(run, names)])
    if rates.empty:
        return rates
    table = rates.pivot_table("rate", "trained_by", "judged_by", sort=False)
    judges = [name for name in table.columns if name != GOLD]
    leakage = {name: _leakage(table.loc[name, judges], str(name)) for name in table.index}
    ordered = table[[*judges, *(name for name in table.columns if name == GOLD)]]
    return ordered.assign(leakage=pd.Series(leakage)).rename_axis(columns=None)


def annotator_name(node: Mapping[str, Any]) -> str:
    """What an annotator's node calls itself and its members (`name`, `model`), else its class."""
    inside = [keywords(inner) for _, inner in nodes(dict(node))]
    called = [inner[key] for inner in inside for key in ("name", "model") if key in inner]
    return "+".join(dict.fromkeys(map(str, called))) or str(node["_target_"]).rpartition(".")[2]


def _judges(run: Run) -> dict[str, Mapping[str, Any]]:
    """The nodes of a run's judges, by the column of their win rates."""
    judge = run.config.get("evaluators", {}).get("judge")
    held_out = {} if judge is None else {"held_out_win_rate": judge}
    return {"win_rate": run.config["annotators"]["clean"], **held_out}


def _key(node: Mapping[str, Any]) -> str:
    return key_of(result_config(node))


def _names(judges: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What each judge is called, by its key, which tells those of one name apart."""
    names = {_key(node): annotator_name(node) for node in judges}
    called = list(names.values())
    return {
        key: name if called.count(name) == 1 else f"{name} ({key[:_KEY_DIGITS]})"
        for key, name in names.items()
    }


def _rates(run: Run, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The win rates of a run's selected checkpoint, by who trained it and who judged it."""
    selected = run.final[run.final["role"] == "selected"].iloc[0]
    judges = {column: names[_key(node)] for column, node in _judges(run).items()}
    evaluators = {**judges, "gold_win_rate": GOLD}
    return [
        {"trained_by": judges["win_rate"], "judged_by": name, "rate": selected[column]}
        for column, name in evaluators.items()
        if pd.notna(selected[column])
    ]


def _leakage(rates: "pd.Series[float]", own: str) -> float:
    return float(rates[own] - rates.drop(own).mean())
