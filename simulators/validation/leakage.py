"""`python -m simulators.validation.leakage`: preference leakage, that what trained a policy judges
it more kindly than others do.

Li et al. 2025 (arXiv 2502.01534) show it of language models. The score here is ours: the win rate
by the judge whose labels trained the policy, less the mean of those by the other judges.

    leakage_table(load_runs("runs"))
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farm.artifacts import key_of
from farm.config import result_config
from farm.errors import DataError, FarmError
from farm.reporting.loading import Run, load_runs
from farm.targets import keywords, nodes

GOLD = "gold"

_KEY_DIGITS = 6


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        table = leakage_table(_finished_runs(arguments.runs_dir))
        print_table(table)
        if arguments.out is not None:
            _write(table, arguments.out)
    except FarmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulators.validation.leakage",
        description="How much more kindly the judge whose labels trained a policy judges it than "
        "other judges do: win rates of finished runs, by who trained and who judged.",
    )
    parser.add_argument("runs_dir", type=Path, help="a folder of runs, such as runs")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write the table here too")
    return parser


def _finished_runs(folder: Path) -> list[Run]:
    try:
        return load_runs(folder)
    except FarmError as error:
        raise DataError(str(error)) from None


def print_table(table: pd.DataFrame) -> None:
    """A line for each annotator that trained."""
    title = "Win rates (%) of policies by who judged them; leakage in points"
    shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    shown.add_column("Trained by")
    for name in table:
        shown.add_column(escape(str(name)), justify="right")
    for name, row in table.iterrows():
        shown.add_row(escape(str(name)), *("-" if pd.isna(v) else f"{v:.1f}" for v in row))
    Console(highlight=False).print(shown)


def _write(table: pd.DataFrame, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}.") from None
    print(path)


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


if __name__ == "__main__":
    sys.exit(main())
