"""`hydra/launcher=ray`: jobs in processes of their own, and what becomes of a sweep without one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import psutil
import pytest
import ray
import sweep_tasks
from omegaconf import DictConfig

from farm.config import cli
from farm.errors import ClusterError
from hydra_plugins.farm_ray_launcher._output import Followed, TimedLines
from simulators.validate import VALIDATE

RAY = ("-m", "hydra/launcher=ray")
SMOKE = ("experiment=smoke", "cluster.num_cpus=1", "evaluation.temperatures=[1.0]")
STOPPED_WITHIN_S = 60.0


def about(folder: Path, name: str) -> dict[str, Any]:
    """What a job has noted about itself."""
    noted: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return noted


class Swept(NamedTuple):
    status: int
    output: str
    folder: Path

    def run(self, method: str) -> dict[str, Any]:
        """`run.json` of a method's run, and its `folder`."""
        (path,) = self.folder.glob(f"runs/*-smoke_{method}/run.json")
        info: dict[str, Any] = json.loads(path.read_text())
        return {**info, "folder": path.parent.relative_to(self.folder)}


@pytest.fixture(scope="module")
def swept(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep of four jobs, of which one fails and one is killed."""
    folder = tmp_path_factory.mktemp("swept")
    sweep = [*RAY, "method=sft,dpo", "seed=2,1", "hydra.launcher.jobs_at_once=2", *SMOKE]
    with pytest.MonkeyPatch.context() as patch, (folder / "output").open("w+") as output:
        patch.chdir(folder)
        patch.setattr(sys, "stdout", output)
        status = cli(sweep_tasks.run_side_by_side, sweep)
        output.seek(0)
        return Swept(status, output.read(), folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_others_go_on_and_the_status_is_the_first_failure(swept: Swept) -> None:
    assert swept.status == ClusterError.exit_code
    assert {swept.run(method)["status"] for method in ("sft", "dpo")} == {"finished"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_side_by_side_build_what_they_share_once(swept: Swept) -> None:
    sft, dpo = (
        {stage["key"]: stage["reused"] for stage in swept.run(method)["stages"]}
        for method in ("sft", "dpo")
    )
    shared = sft.keys() & dpo.keys()
    labels = {s["label"] for s in swept.run("dpo")["stages"] if s["key"] in shared}
    assert {"instructions", "model", "sft", "reference"} <= labels
    assert all(sft[key] != dpo[key] for key in shared), "one has built it, one has reused it"
    assert not list(swept.folder.glob("runs/store/*/*.partial"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_table_says_what_became_of_each(swept: Swept) -> None:
    table = swept.output.partition("2 of 4 jobs finished")[2]
    names = [f"method={method} seed={seed}" for method in ("sft", "dpo") for seed in (2, 1)]
    begins = [table.index(name) for name in names]
    assert begins == sorted(begins)
    killed, sft, wrong, dpo = (
        table[begin:end] for begin, end in zip(begins, [*begins[1:], None], strict=True)
    )
    assert "failed (5)" in killed and "the job's process ended" in killed
    assert "failed (3)" in wrong and "rows.csv:3: no column" in wrong and "others" not in wrong
    for method, row in (("sft", sft), ("dpo", dpo)):
        run = swept.run(method)
        final = pd.read_parquet(swept.folder / run["folder"] / "final.parquet")
        selected = final.set_index("role").loc["selected"]
        assert "finished" in row
        assert str(run["folder"]) in row.replace(" ", "").replace("\n", "")
        assert f" {selected['pool_preference']:.1f} " in row
        assert f" {selected['gold_win_rate']:.1f} " in row


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_run_in_the_main_threads_of_processes_of_their_own(swept: Swept) -> None:
    sft, dpo = (about(swept.folder, method) for method in ("sft", "dpo"))
    assert len({sft["pid"], dpo["pid"], os.getpid()}) == 3
    assert (sft["number"], dpo["number"]) == (1, 3)
    assert sft["main_thread"] and dpo["main_thread"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_and_their_workers_find_the_drivers_modules(swept: Swept) -> None:
    own = os.path.dirname(sweep_tasks.__file__)
    for method in ("sft", "dpo"):
        assert own in about(swept.folder, method)["path"]
        assert own in about(swept.folder, method)["path_of_a_child"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lines_are_shown_behind_the_jobs_name_and_blocks_kept_in_its_log(swept: Swept) -> None:
    prefix = "[job 3 method=dpo seed=1]"
    lines = [line for line in swept.output.splitlines() if line.startswith(prefix)]
    assert lines[1] == f"{prefix} the job begins"
    assert sum("  judgments  " in line for line in lines) == 1
    assert lines[-1].startswith(f"{prefix} finished (")
    (log,) = swept.folder.glob("runs/sweeps/*/job-3.log")
    blocks = ("Against ", "past Python\n", "one training example\n")
    assert all(block in log.read_text() for block in blocks)
    assert not any(block.rstrip() in swept.output for block in blocks)
    assert str(log.parent) in swept.output.splitlines()[0]


@pytest.mark.slow
def test_ctrl_c_ends_all_jobs_on_a_cluster_that_goes_on(ray_session: None, tmp_path: Path) -> None:
    address = ray.get_runtime_context().gcs_address
    arguments = [*RAY, "seed=1,2", "cluster=auto", f"cluster.address={address}"]
    program = (
        "import sys, sweep_tasks; from farm.config import cli; "
        f"sys.exit(cli(sweep_tasks.never_end, {arguments!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        _wait_for_jobs(process, tmp_path, 2)
        noted = [about(tmp_path, f"seed-{seed}") for seed in (1, 2)]
        jobs = [psutil.Process(job["pid"]) for job in noted]
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=STOPPED_WITHIN_S)
    assert {job["cluster"] for job in noted} == {address}
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert not psutil.wait_procs(jobs, timeout=STOPPED_WITHIN_S)[1]
    assert ray.is_initialized() and ray.nodes()[0]["Alive"]


def _wait_for_jobs(process: "subprocess.Popen[str]", folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(folder.glob("seed-*.json"))) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the jobs never began"
        time.sleep(0.05)


def never(config: DictConfig) -> int:
    raise AssertionError("no job must start")


@pytest.mark.parametrize(
    ("arguments", "named", "hint"),
    [
        ("hydra/launcher=rya", "hydra/launcher=rya", "ray"),
        ("hydra/launchr=ray", "hydra/launchr", "launcher"),
        ("hydra/launcher=ray hydra.launcher.jobs_at_onc=2", "jobs_at_onc", "jobs_at_once"),
        ("hydra.launcher.jobs_at_once=2", "jobs_at_once", "hydra/launcher=ray"),
        ("hydra/launcher=ray hydra.launcher.jobs_at_once=two", "jobs_at_once", "a whole number"),
        ("hydra/launcher=ray hydra.launcher.jobs_at_once=0", "jobs_at_once", "at least 1"),
    ],
)
def test_mistakes_are_named_before_anything_starts(
    arguments: str, named: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(never, ["-m", "seed=1,2", *arguments.split()]) == 2
    message = capsys.readouterr().err
    assert named in message.partition(" (in the job")[0]
    assert hint in message.partition(" (in the job")[0]
    assert message.count("\n") == 1


def test_a_command_without_a_cluster_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(never, [*RAY, "seed=1,2"], VALIDATE) == 2
    assert "this command has no cluster" in capsys.readouterr().err


def test_only_whole_single_lines_are_followed(tmp_path: Path) -> None:
    followed = Followed(tmp_path / "log")
    assert not list(followed.new_lines())
    with (tmp_path / "log").open("w", buffering=1) as file:
        stream = TimedLines(file)
        print("one", end=" ", file=stream)
        assert not list(followed.new_lines())
        print("line", file=stream)
        print("a block\nof lines\n", file=stream)
        file.write("begun")
        assert list(followed.new_lines()) == ["one line"]
        assert not list(followed.new_lines())
