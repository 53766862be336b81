"""A study, from its configuration to its folder `runs/studies/NAME`."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.artifacts import Store
from farm.builder import Builder, Finder, NotBuilt, Planner
from farm.cluster import Cluster
from farm.console import Console
from farm.errors import DataError
from farm.preflight import check_keys, check_packages
from farm.settings import Settings
from farm.studies.grid import Grid
from farm.studies.runs import Runs
from farm.studies.settings import StudySettings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measured:
    """All that a study measured, one row per answer."""

    policies: "pd.DataFrame"
    """seed, annotators, policy, learned, step and the columns of farm.stages.crossing."""
    checkpoints: "pd.DataFrame"
    """seed, annotators, step, rivals' scores, and those columns."""
    samples: "pd.DataFrame"
    """seed, annotators, and those columns."""


def run(config: Mapping[str, Any], runs: Runs) -> int:
    """Run one study (its configuration resolved and checked); returns the exit status."""
    settings = Settings.from_plain(config)
    study = StudySettings.from_plain(config["study"])
    console = Console()
    store = Store(Path(settings.runs_dir) / "store")
    check_packages(config)
    if settings.dry_run:
        return _say(Grid(study, runs, planner := Planner(store, console)), study, planner, console)
    if config["plan"]:
        return _plan(Grid(study, runs, Finder(store)), study, settings, console)
    check_keys(config)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with closing(Cluster(settings.cluster, console.message)) as cluster:
        grid = Grid(study, runs, Builder(store, cluster, console))
        grid.check()
        measured = measure(grid, study)
    _report(measured, study, settings, console)
    return 0


def measure(grid: Grid, study: StudySettings) -> Measured:
    """Train, judge and score all that the study crosses."""
    import pandas as pd

    policies, checkpoints, samples = [], [], []
    for seed in study.seeds:
        for annotators in study.annotators:
            of = {"seed": seed, "annotators": annotators}
            policies += list(judged(grid, seed, annotators))
            for step, items in grid.checkpoints(seed, annotators):
                checkpoints.append(items.assign(**of, step=step))
            samples.append(grid.samples(seed, annotators).assign(**of))
    frames = (pd.concat(rows, ignore_index=True) for rows in (policies, checkpoints, samples))
    return Measured(*frames)


def judged(grid: Grid, seed: int, annotators: str) -> Iterator["pd.DataFrame"]:
    """The answers of every policy to `evaluation`, with the judges' verdicts."""
    for policy in grid.policies(seed, annotators):
        yield grid.judged(seed, annotators, policy).assign(
            seed=seed,
            annotators=annotators,
            policy=policy.name,
            learned=policy.learned,
            step=policy.step,
        )


def _say(grid: Grid, study: StudySettings, planner: Planner, console: Console) -> int:
    console.message("Planned stages, up to the learned policies (dry_run=true):")
    grid.check()
    for seed in study.seeds:
        for annotators in study.annotators:
            for method in grid.methods:
                _ = grid.pipeline(seed, annotators, method).policy
    console.message(f"Nothing was run. {planner.missing} to build, {planner.reused} to reuse.")
    return 0


def _plan(grid: Grid, study: StudySettings, settings: Settings, console: Console) -> int:
    raise DataError("not yet")


def _report(measured: Measured, study: StudySettings, settings: Settings, console: Console) -> None:
    console.message(f"{len(measured.policies)} rows")
