"""Machines that share no file system: learners on each of them, files that meet in the mirror, a
machine and the driver that are lost. Each machine is a Ray node whose mount namespace hides the
driver's folder behind an empty one of its own."""

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

from farm.errors import StoreError

from .conftest import REPOSITORY, SMOKE, Finished, run_folders, wait_for

DEADLINE_S = 900.0
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
CLUSTER = ("cluster=auto", "cluster.learners=2", "cluster.grows=true")
"""Machines that are still coming are waited for."""
HEAD = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster()
cluster.add_node(num_cpus=0, include_dashboard=False)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
MACHINE = (
    'mount -t tmpfs none "$1" && exec "$2" -m ray.scripts.scripts start --address="$3" --block '
    "--num-cpus=1 --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 "
    "--include-log-monitor=false --disable-usage-stats"
)
OWN_MODULE = """
from jobs_for_tests import digits

def more_digits(instructions, texts):
    return digits(instructions, texts)
"""


def _may_unshare(folder: Path) -> bool:
    mounted = [*UNSHARE, "mount", "-t", "tmpfs", "none", str(folder)]
    try:
        return subprocess.run(mounted, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Machines:
    """A cluster whose first node has the driver's files and no CPU; the others have one CPU each,
    so room for one of two learners, and an empty folder where the driver works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "here"
        self.folder.mkdir()
        if not _may_unshare(self.folder):
            pytest.skip("mount namespaces are not permitted here")
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", HEAD],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            )
        ]  # fmt: skip
        head = self._processes[0]
        assert head.stdout is not None
        self.address = head.stdout.readline().strip()

    def add(self) -> psutil.Process:
        """One more machine. Ray's own start does not bear company."""
        command = [*UNSHARE, "sh", "-c", MACHINE, "sh", str(self.folder), sys.executable]
        process = subprocess.Popen(
            [*command, self.address],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._processes.append(process)
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            if "Ray runtime started" in line:
                return psutil.Process(process.pid)
            said.append(line)
        raise AssertionError("".join(said))

    def stop(self) -> None:
        """The end of all of them."""
        for process in reversed(self._processes):
            lose(psutil.Process(process.pid))
            process.communicate(timeout=60)


def lose(machine: psutil.Process) -> None:
    """A machine with all that runs on it."""
    for process in [machine, *machine.children(recursive=True)]:
        process.kill()


def learners(machine: psutil.Process) -> list[psutil.Process]:
    """The workers on a machine."""
    found = []
    for process in machine.children(recursive=True):
        try:
            found += [process] if process.cmdline()[0].startswith("ray::Worker") else []
        except (psutil.Error, IndexError):
            continue
    return found


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path)
    yield found
    found.stop()


def _run(
    machines: Machines, runs: Path, *overrides: str, path: Path = REPOSITORY
) -> "subprocess.Popen[str]":
    """A run whose driver looks for modules in `path` too."""
    python_path = os.pathsep.join([os.environ["PYTHONPATH"], str(path)])
    return subprocess.Popen(
        [
            sys.executable, "-m", "farm.run", *SMOKE, *CLUSTER, f"runs_dir={runs}",
            f"cluster.address={machines.address}", *overrides,
        ],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": python_path}, start_new_session=True,
    )  # fmt: skip


def _saved_steps(mirror: Path) -> int:
    """How many steps PPO has logged in snapshots of its work."""
    steps = 0
    for index in mirror.glob("policy/*.partial/index.json"):
        try:
            files: dict[str, Any] = json.loads(index.read_text())["files"]
            log = index.parent / "files" / files["metrics.jsonl"] / "metrics.jsonl"
            text = log.read_text()
        except (KeyError, FileNotFoundError):  # replaced meanwhile
            continue
        steps = max(steps, len(text.splitlines()) if "kl_to_start" in text else 0)
    return steps


def _figures(runs: Path) -> dict[str, pd.DataFrame]:
    (path,) = run_folders(runs)
    return Finished(path).measured


@pytest.mark.slow
@pytest.mark.timeout(3000)  # two runs, one of them started again twice
def test_run_on_machines_of_their_own_survives_a_lost_machine_and_a_killed_driver(
    machines: Machines, tmp_path: Path
) -> None:
    calm, rough = machines.folder / "calm", machines.folder / "rough"
    chosen = ("cluster.samplers=1", "cluster.max_restarts=4",
              "method=ppo", "method.steps=14")  # fmt: skip
    mirrors = {runs: tmp_path / f"{runs.name}-mirror" for runs in (calm, rough)}
    nodes = [machines.add() for _ in range(3)]
    process = _run(machines, calm, *chosen, f"mirror=file://{mirrors[calm]}")
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output

    command = (*chosen, f"mirror=file://{mirrors[rough]}")
    process = _run(machines, rough, *command)
    wait_for(lambda: _saved_steps(mirrors[rough]) >= 3, process, DEADLINE_S)
    lose(next(node for node in nodes if learners(node)))
    wait_for(lambda: _saved_steps(mirrors[rough]) >= 6, process, DEADLINE_S)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = _run(machines, rough, *command)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output

    ours, theirs = _figures(calm), _figures(rough)
    assert list(theirs["curve"]["step"]) == list(ours["curve"]["step"])
    for name, table in ours.items():
        pd.testing.assert_frame_equal(theirs[name], table, atol=1e-4)
    assert not list(mirrors[rough].rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_machine_without_the_drivers_files_is_an_error_that_says_what_is_missing(
    machines: Machines,
) -> None:
    for _ in range(2):
        machines.add()
    process = _run(machines, machines.folder / "runs")
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == StoreError.exit_code, output
    assert "does not see" in output
    assert "mirror=URL" in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_module_of_ones_own_reaches_machines_that_do_not_have_it(
    machines: Machines, tmp_path: Path
) -> None:
    for _ in range(2):
        machines.add()
    own = machines.folder / "own"
    own.mkdir()
    (own / "own_reward.py").write_text(OWN_MODULE)
    process = _run(
        machines, machines.folder / "runs", f"mirror=file://{tmp_path / 'mirror'}",
        "method=best_of_n", "method.n=2", "reward=callable",
        "reward.function=own_reward:more_digits", f"+cluster.runtime_env.working_dir={own}",
        path=own,
    )  # fmt: skip
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
