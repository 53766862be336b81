"""One worker and one finished smoke run that the end-to-end tests share."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from farm import main_job
from farm import run as farm_run
from farm.cluster import Cluster
from farm.config import cli
from farm.standalone import job as standalone_job
from farm.studies import workshop

REPOSITORY = Path(__file__).parents[2]
SMOKE = ("experiment=smoke", "cluster.num_cpus=1")
"""On one core: threads of models this small wait for each other where a machine is busy."""


@dataclass(frozen=True)
class Finished:
    """A finished run's folder."""

    path: Path

    @property
    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads((self.path / "run.json").read_text())
        return info

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.path / f"{name}.parquet")

    @property
    def measured(self) -> dict[str, pd.DataFrame]:
        """Curve and final table, without times."""
        return {
            name: self.table(name).drop(columns=["wall_s"], errors="ignore")
            for name in ("curve", "final")
        }

    def stages(self, *, reused: bool) -> set[str]:
        return {s["label"] for s in self.info["stages"] if s["reused"] == reused}


class WarmCluster(Cluster):
    """Leaves its workers to the next run: they have imported what all of them need, and all of them
    ask for one core."""

    _left: ClassVar[Any] = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._group = WarmCluster._left

    def close(self) -> None:
        WarmCluster._left = self._group


@pytest.fixture(scope="session")
def ray_session(ray_session: None) -> Iterator[None]:
    """The shared Ray, where one worker runs the jobs of all runs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (main_job, standalone_job, workshop):
            patch.setattr(module, "Cluster", WarmCluster)
        yield


Run = Callable[..., Finished]


def run_folders(runs: Path) -> set[Path]:
    """The folders of runs, the store left out."""
    return {path.parent for path in runs.glob("*/run.json")}


def _finished(runs: Path) -> set[Path]:
    return {path for path in run_folders(runs) if Finished(path).info["status"] == "finished"}


@pytest.fixture(scope="session")
def run_here(ray_session: None) -> Run:
    """Run overrides in this process, on the shared Ray, with status 0."""

    def run(runs: Path, *overrides: str) -> Finished:
        before = _finished(runs)
        status = cli(farm_run.task, [*SMOKE, f"runs_dir={runs}", *overrides])
        assert status == 0
        (path,) = _finished(runs) - before
        return Finished(path)

    return run


def wait_for(
    condition: Callable[[], bool], process: "subprocess.Popen[str]", deadline_s: float
) -> None:
    """Until the run has come so far; it must not end before."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the run never came that far"
        time.sleep(0.02)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """The same as a process of its own, with its own Ray, that Ctrl-C can be sent to."""
    started: list[subprocess.Popen[str]] = []

    def start(runs: Path, *overrides: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "farm.run", *SMOKE, f"runs_dir={runs}"]
        process = subprocess.Popen(
            [*command, *overrides],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder that the smoke run and its followers share."""
    return tmp_path_factory.mktemp("smoke") / "runs"


@pytest.fixture(scope="session")
def smoke(run_here: Run, smoke_runs: Path) -> Finished:
    """`python -m farm.run experiment=smoke method=ppo`, finished."""
    return run_here(smoke_runs, "method=ppo")
