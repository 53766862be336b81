"""The main job on a cluster of three machines, of which one is lost, and processes of which each
kind is killed: a sampler, a learner, the driver."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from .conftest import REPOSITORY, SMOKE, Finished, run_folders, wait_for

DEADLINE_S = 300.0
CLUSTER = (
    "cluster=cpu", "cluster.samplers=1", "cluster.scorers=1", "cluster.max_restarts=4",
    "method=ppo", "method.steps=14",
)  # fmt: skip
START = """
import json, sys
import psutil
from ray.cluster_utils import Cluster

cluster = Cluster()
nodes = [cluster.add_node(num_cpus=cores, include_dashboard=False) for cores in (1, 3, 3)]
cluster.wait_for_nodes()
print(json.dumps({"address": cluster.address}), flush=True)
for line in sys.stdin:
    raylet = psutil.Process(int(line)).ppid()
    (found,) = [n for n in nodes if n.all_processes["raylet"][0].process.pid == raylet]
    cluster.remove_node(found, allow_graceful=False)
    print(json.dumps({"removed": int(line)}), flush=True)
cluster.shutdown()
"""


class Machines:
    """Three in one: Ray's own cluster for tests, in a process of its own. The first machine is too
    small for two learners, which therefore meet on one that can be lost."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.address = self._answer()["address"]

    def lose(self, actor: psutil.Process) -> None:
        """The machine that the actor runs on, with all others there."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{actor.pid}\n")
        self._process.stdin.flush()
        assert self._answer() == {"removed": actor.pid}

    def stop(self) -> None:
        """The end of the others."""
        self._process.communicate(timeout=60)

    def processes(self, title: str) -> list[psutil.Process]:
        """Those of the machines' actors whose title begins so, the oldest first."""
        found = [
            child
            for child in psutil.Process(self._process.pid).children(recursive=True)
            if "".join(_title(child)).startswith(title)
        ]
        return sorted(found, key=lambda process: process.create_time())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise AssertionError("the cluster did not come up")


def _title(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline()[:1])
    except psutil.Error:
        return []


@pytest.fixture
def machines() -> Iterator[Machines]:
    found = Machines()
    yield found
    found.stop()


def _run(machines: Machines, runs: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable, "-m", "farm.run", *SMOKE, *CLUSTER,
            f"cluster.address={machines.address}", f"runs_dir={runs}",
        ],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "NO_COLOR": "1"}, start_new_session=True,
    )  # fmt: skip


def _steps(runs: Path) -> int:
    """How many steps PPO has logged in its partial folder."""
    logs = list((runs / "store" / "policy").glob("*.partial/metrics.jsonl"))
    lines = [log.read_text().splitlines() for log in logs if "kl_to_start" in log.read_text()]
    return max(map(len, lines), default=0)


def _judged(runs: Path) -> dict[str, int]:
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in (runs / "store" / "judgments").glob("*/manifest.json")
    }


def _figures(runs: Path) -> dict[str, pd.DataFrame]:
    (path,) = run_folders(runs)
    return Finished(path).measured


@pytest.mark.slow
@pytest.mark.timeout(900)  # two runs, one of them started again four times
def test_run_that_loses_a_machine_and_every_kind_of_process_ends_as_an_undisturbed_one(
    machines: Machines, tmp_path: Path
) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    process = _run(machines, calm)
    assert process.wait(DEADLINE_S) == 0, process.communicate()[0]

    process = _run(machines, rough)
    wait_for(lambda: _steps(rough) >= 2, process, DEADLINE_S)
    judged = _judged(rough)
    machines.processes("ray::PoolWorker")[0].kill()
    wait_for(lambda: _steps(rough) >= 4, process, DEADLINE_S)
    machines.processes("ray::Worker")[-1].kill()
    wait_for(lambda: _steps(rough) >= 6, process, DEADLINE_S)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    process = _run(machines, rough)
    wait_for(lambda: _steps(rough) >= 8, process, DEADLINE_S)
    machines.lose(machines.processes("ray::Worker")[-1])
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert "restarts left" in output
    assert judged == _judged(rough), "nothing was judged twice"

    ours, theirs = _figures(calm), _figures(rough)
    assert list(theirs["curve"]["step"]) == list(ours["curve"]["step"])
    for name, table in ours.items():
        pd.testing.assert_frame_equal(theirs[name], table, atol=1e-4)
