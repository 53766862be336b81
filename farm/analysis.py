"""Finished runs as DataFrames and figures, for notebooks.

    runs = load_runs("runs")
    plot_win_rate_curves(curves(runs))
    method_table(runs)

Rates are percent against each run's own reference, KL nats per answer; tables have one row per
checkpoint, policy or method, with the columns `run`, `method` and `seed` in front. `method` is the
run's `name`. Where runs of one name differ in more than their seed they are told apart by a folder
behind the name; of runs that differ in nothing, the newest counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from farm.artifacts import key_of
from farm.errors import FarmError
from farm.evaluation.failure import policy_failure
from farm.evaluation.intervals import crossed_interval
from farm.evaluation.overoptimization import overoptimization
from farm.protocols import FloatArray
from farm.reporting import plots, stability_page, tuning_page
from farm.reporting.loading import Run, load_run, load_runs
from farm.reporting.merging_figures import plot_domains, plot_merge_gains

__all__ = [
    "Run",
    "curves",
    "failures",
    "final_table",
    "load_run",
    "load_runs",
    "load_study",
    "method_table",
    "plot_depths",
    "plot_domains",
    "plot_losses",
    "plot_memory",
    "plot_merge_gains",
    "plot_overoptimization",
    "plot_skills",
    "plot_win_rate_curves",
    "turning_points",
]

EVALUATORS = {
    "pool_preference": "Training pool, noise-free (%)",
    "held_out_win_rate": "Held-out evaluators (%)",
    "gold_win_rate": "Gold (%)",
}

_NOT_COMPARED = ("seed", "cluster", "tracking", "runs_dir", "mirror", "dry_run")
"""Keys of the configuration in which runs of one method may differ."""

_MEASURES: dict[str, Callable[[pd.DataFrame], "pd.Series[float]"]] = {
    "pool_preference": lambda items: 100 * items["expectation"],
    "win_rate": lambda items: 100 * items["preference"],
    "held_out_win_rate": lambda items: 100 * items["held_out"],
    "gold_win_rate": lambda items: _gold_wins(items["gold"] - items["gold_reference"]),
    "gold_utility": lambda items: items["gold"],
}
"""What each rate is for one instruction."""


def load_study(folder: Path | str) -> dict[str, pd.DataFrame]:
    """The tables of a finished study (`runs/studies/NAME`), by name. Raises `FarmError` where there
    are none."""
    tables = {path.stem: pd.read_csv(path) for path in sorted(Path(folder).glob("*.csv"))}
    if not tables:
        raise FarmError(
            f"{folder}: no finished study here. Give the folder that `python -m farm.study` names "
            "at its end, below `runs/studies`."
        )
    return tables


def plot_skills(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Skills and the loss on text over the steps of a stability study."""
    return stability_page.curves_figure(tables)


def plot_depths(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """How far skills fall in a stability study."""
    return stability_page.depths_figure(tables)


def plot_losses(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Training losses of a tuning study."""
    return tuning_page.losses_figure(tables)


def plot_memory(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Bytes of gradients and optimiser in a tuning study."""
    return tuning_page.memory_figure(tables)


def curves(runs: Iterable[Run]) -> pd.DataFrame:
    """Every evaluated checkpoint of every run, on its validation instructions."""
    return _table(runs, lambda run: run.curve)


def final_table(runs: Iterable[Run]) -> pd.DataFrame:
    """Every row of every run's final table, on its evaluation instructions."""
    return _table(runs, lambda run: run.final)


def turning_points(runs: Iterable[Run]) -> pd.DataFrame:
    """Whether gold utility turns over, run by run where it is known, with the interval of its fall
    from the peak to the end (positive is a fall)."""
    known = [run for run in runs if run.curve["gold_utility"].notna().all()]
    return _table(known, _turning_point)


def failures(runs: Iterable[Run]) -> pd.DataFrame:
    """Where the proxy's gain went along every curve of a run with a reward, annotators that are
    programs, and gold: reward-model error or annotator bias (farm.evaluation.failure)."""
    needed = ["proxy", "expectation", "gold"]
    known = [run for run in runs if run.items[needed].notna().any().all()]
    return _table(known, lambda run: policy_failure(run.items, seed=run.info["seed"]))


def method_table(runs: Iterable[Run]) -> pd.DataFrame:
    """Means over seeds of the selected and the last checkpoint's figures, one row per method.

    Intervals resample seeds and instructions (crossed bootstrap), so they cover training again;
    with one seed they cover the instructions alone.
    """
    return pd.DataFrame(
        [
            _method_row(method, role, of_method)
            for method, of_method in _by_method(runs).items()
            for role in ("selected", "last")
        ]
    )


def plot_win_rate_curves(curves: pd.DataFrame, evaluators: Sequence[str] = ()) -> Figure:
    """Win rates over training steps, one panel per evaluator (columns of `curves`; those of
    `EVALUATORS` that judged, where none is named), one colour per method.

    A line is the mean over seeds, with the seeds behind it; a method of one run has its interval.
    """
    chosen = evaluators or [name for name in EVALUATORS if curves[name].notna().any()]
    with mpl.rc_context(plots.STYLE):
        figure, axes_of = plots.panels(max(len(chosen), 1))
        for axes, column in zip(axes_of, chosen, strict=False):
            _draw_methods(axes, curves, column, "step")
            plots.chance_line(axes)
            plots.label(axes, EVALUATORS.get(column, column))
        plots.legend(figure, axes_of[0])
    return figure


def plot_overoptimization(curves: pd.DataFrame) -> Figure:
    """Proxy reward above gold utility, over the distance from the start policy."""
    with mpl.rc_context(plots.STYLE):
        figure, (above, below) = plots.panels(2, stacked=True)
        for axes, series in ((above, plots.PROXY), (below, plots.GOLD)):
            _draw_methods(axes, curves, series.column, "kl_to_start")
            plots.label(axes, series.label.capitalize(), plots.KL.label)
        plots.legend(figure, below)
    return figure


def _by_method(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs that differ in their seed alone, by what tables and curves call them."""
    configurations: dict[tuple[str, str], dict[int, Run]] = {}
    for run in runs:  # oldest first, so that the newest of equal runs stays
        compared = {k: v for k, v in run.config.items() if k not in _NOT_COMPARED}
        of_seeds = configurations.setdefault((run.info["name"], key_of(compared)), {})
        of_seeds[run.info["seed"]] = run
    names = [name for name, _ in configurations]
    methods = {}
    for (name, _), of_seeds in configurations.items():
        first, *_ = of_seeds.values()
        method = name if names.count(name) == 1 else f"{name} ({first.name})"
        methods[method] = list(of_seeds.values())
    return methods


def _table(runs: Iterable[Run], rows_of: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
    """The rows of every run, with what they are of in front."""
    labelled = []
    for method, of_method in _by_method(runs).items():
        for run in of_method:
            table = rows_of(run).copy()
            front = {"run": run.name, "method": method, "seed": run.info["seed"]}
            for place, (name, value) in enumerate(front.items()):
                table.insert(place, name, value)
            labelled.append(table)
    return pd.concat(labelled, ignore_index=True) if labelled else pd.DataFrame()


def _turning_point(run: Run) -> pd.DataFrame:
    turn = overoptimization(run.items, seed=run.info["seed"])
    row = {
        "peak_step": turn.peak_step,
        "gold_drop": turn.gold_drop.estimate,
        "gold_drop_low": turn.gold_drop.low,
        "gold_drop_high": turn.gold_drop.high,
        "turns_over": turn.turns_over,
        "proxy_rise": turn.proxy_rise.estimate,
        "proxy_rise_after_peak": turn.proxy_rise_after_peak.estimate,
    }
    return pd.DataFrame([row])


def _method_row(method: str, role: str, runs: Sequence[Run]) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "role": role, "seeds": len(runs)}
    for name in _MEASURES:
        values_S_N = _seeds_by_instructions(runs, role, name)
        interval = crossed_interval(values_S_N, seed=0)
        row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def _gold_wins(difference: "pd.Series[float]") -> "pd.Series[float]":
    """100 where gold ranks the policy higher, 50 at a tie, 0 below."""
    return pd.Series(50 * (np.sign(difference.to_numpy()) + 1), index=difference.index)


def _seeds_by_instructions(runs: Sequence[Run], role: str, measure: str) -> FloatArray:
    """One measure of every run [S] on every instruction [N]; NaN where a run had not that one."""
    columns = {}
    for run in runs:
        items = run.final_items
        excluded = items["category"].isin(run.config["data"]["headline_excludes"])
        headline = items[(items["role"] == role) & ~excluded].set_index("instruction_id")
        columns[run.name] = _MEASURES[measure](headline).astype("float64")
    return pd.DataFrame(columns).to_numpy().T


def _draw_methods(axes: Axes, curves: pd.DataFrame, column: str, x: str) -> None:
    for place, (method, rows) in enumerate(curves.groupby("method", sort=False)):
        series = plots.Series(column, str(method), *plots.look(place))
        if rows["run"].nunique() == 1:
            plots.draw(axes, rows, series, x)
            continue
        for _, run in rows.groupby("run"):
            axes.plot(run[x], run[column], color=series.colour, linewidth=0.8, alpha=0.35)
        plots.draw(axes, _mean_over_runs(rows, [column, x]), series, x)


def _mean_over_runs(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Means by step, at the steps that every run evaluated."""
    grouped = rows.groupby("step")
    means = grouped[[name for name in columns if name != "step"]].mean()
    complete = grouped["run"].nunique() == rows["run"].nunique()
    return means[complete].reset_index()
