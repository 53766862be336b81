"""A study, from its configuration to its folder `runs/studies/NAME`."""

import signal
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from farm.artifacts import Store
from farm.builder import Builder, Executor, Finder, NotBuilt, Planner
from farm.cluster import Cluster
from farm.console import Console
from farm.errors import DataError
from farm.preflight import check_keys, check_packages
from farm.settings import Settings
from farm.studies.grid import Grid
from farm.studies.measure import Measured, bill, judged, measure
from farm.studies.runs import Runs
from farm.studies.settings import StudySettings

_PILOT_SEEDS = 2
"""The fewest that show a variance between seeds."""


def run(config: Mapping[str, Any], runs: Runs) -> int:
    """Run one study (its configuration resolved and checked); returns the exit status."""
    settings = Settings.from_plain(config)
    study = StudySettings.from_plain(config["study"])
    console = Console()
    store = Store(Path(settings.runs_dir) / "store")
    check_packages(config)
    if settings.dry_run:
        planner = Planner(store, console)
        _say(checked_grid(study, runs, planner), study, planner, console)
    elif config["plan"]:
        _plan(checked_grid(study, runs, Finder(store)), study, settings, console)
    else:
        check_keys(config)
        _measure(study, runs, settings, store, console)
    return 0


def checked_grid(study: StudySettings, runs: Runs, executor: Executor) -> Grid:
    """The grid, each of its cells' configurations checked, so that a mistake shows at once."""
    grid = Grid(study, runs, executor)
    grid.check()
    return grid


def _measure(
    study: StudySettings, runs: Runs, settings: Settings, store: Store, console: Console
) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with closing(Cluster(settings.cluster, console.message)) as cluster:
        grid = checked_grid(study, runs, Builder(store, cluster, console))
        measured = measure(grid, study)
    _report(measured, study, settings, console)


def _report(measured: Measured, study: StudySettings, settings: Settings, console: Console) -> None:
    from farm.reporting.study_page import print_study, write_study
    from farm.studies.tables import study_tables

    folder = Path(settings.runs_dir) / "studies" / settings.name
    tables = study_tables(measured, study)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in vars(measured).items():
        rows.to_parquet(folder / f"{name}.parquet", index=False)
    write_study(folder, tables, human=study.human)
    print_study(tables, console.rich)
    console.message(str(folder / "study.html"))


def _say(grid: Grid, study: StudySettings, planner: Planner, console: Console) -> None:
    """Print what would be built, up to the learned policies."""
    console.message("Planned stages, up to the learned policies (dry_run=true):")
    for seed in study.seeds:
        for annotators in study.annotators:
            for method in grid.methods:
                _ = grid.pipeline(seed, annotators, method).policy
    console.message(f"Nothing was run. {planner.missing} to build, {planner.reused} to reuse.")


def _plan(grid: Grid, study: StudySettings, settings: Settings, console: Console) -> None:
    """Print what a larger study needs, from the seeds whose policies are all there."""
    import pandas as pd

    from farm.reporting.study_page import print_plan
    from farm.studies.plan import differences, plan_table
    from farm.studies.rankings import values

    annotators, frames, bills = study.annotators[0], [], []
    for seed in study.seeds:
        try:
            found = list(judged(grid, seed, annotators))
            bills.append(bill(grid, seed, annotators))
        except NotBuilt:
            console.message(f"seed {seed}: not finished, left out")
        else:
            frames += found
    if len(bills) < _PILOT_SEEDS:
        raise DataError(
            f"a plan needs the policies of at least two seeds, and {settings.runs_dir}/store has "
            f"those of {len(bills)}. Run a pilot first: the same command without plan=true, with "
            f"study.seeds=[{study.seeds[0]},{study.seeds[0] + 1}] for instance."
        )
    policies = grid.headline(pd.concat(frames, ignore_index=True))
    components = differences(values(policies[policies["learned"]], annotators, annotators))
    print_plan(components, plan_table(components, bills[0], study.detect), console.rich)
