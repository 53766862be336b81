"""A study, from its configuration to its folder `runs/studies/NAME`."""

import signal
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.artifacts import Store
from farm.builder import Builder
from farm.cluster import Cluster
from farm.console import Console
from farm.preflight import check_keys, check_packages
from farm.settings import Settings
from farm.studies.grid import Grid
from farm.studies.runs import Runs
from farm.studies.settings import StudySettings

if TYPE_CHECKING:
    import pandas as pd


def run(config: Mapping[str, Any], runs: Runs) -> int:
    """Run one study (its configuration resolved and checked); returns the exit status."""
    settings = Settings.from_plain(config)
    study = StudySettings.from_plain(config["study"])
    console = Console()
    check_packages(config)
    check_keys(config)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with closing(Cluster(settings.cluster, console.message)) as cluster:
        builder = Builder(Store(Path(settings.runs_dir) / "store"), cluster, console)
        grid = Grid(study, runs.methods, runs.compose, builder)
        grid.check()
        policies(grid, study)
    return 0


def policies(grid: Grid, study: StudySettings) -> "pd.DataFrame":
    """The answers of every policy, judged: one row per seed, annotators, policy, instruction."""
    import pandas as pd

    frames = []
    for seed in study.seeds:
        for annotators in study.annotators:
            for policy in grid.policies(seed, annotators):
                front = {
                    "seed": seed,
                    "annotators": annotators,
                    "policy": policy.name,
                    "learned": policy.learned,
                    "step": policy.step,
                }
                frames.append(grid.judged(seed, annotators, policy).assign(**front))
            if annotators != study.human and study.curve is not None:
                for _ in grid.checkpoints(seed, annotators):
                    pass
                grid.samples(seed, annotators)
    return pd.concat(frames, ignore_index=True)
