"""Runs that are really killed, and runs that are mistyped."""

import os
import signal
import time
from pathlib import Path

import pandas as pd
import psutil
from filelock import FileLock

from farm.errors import DataError
from farm.stages.job import CHECKPOINT_STAGE

from .conftest import Finished, Run, Start, run_folders, wait_for

DEADLINE_S = 240.0
STOPPED_WITHIN_S = 15.0
"""The promise is 5 s on an idle machine."""


def _manifests(runs: Path) -> dict[str, int]:
    return {
        f"{p.parent.parent.name}/{p.parent.name}": p.stat().st_mtime_ns
        for p in (runs / "store").glob("*/*/manifest.json")
    }


def _training(runs: Path, lines: int) -> bool:
    """Whether PPO has logged so many steps in a partial folder."""
    logs = (runs / "store" / "policy").glob("*.partial/metrics.jsonl")
    return any(
        len(log.read_text().splitlines()) >= lines and "kl_to_start" in log.read_text()
        for log in logs
    )


def test_run_killed_in_two_stages_ends_as_if_nothing_had_happened(
    smoke: Finished, run_here: Run, start: Start, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    process = start(runs)
    wait_for(lambda: any((runs / "store").glob("judgments/*.partial")), process, DEADLINE_S)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    after_first = _manifests(runs)
    assert any(name.startswith("policy/") for name in after_first)

    process = start(runs)
    wait_for(lambda: _training(runs, 3), process, DEADLINE_S)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    after_second = _manifests(runs)
    assert after_first.items() <= after_second.items()

    (path,) = run_folders(runs)
    finished = run_here(runs)
    assert finished.path == path
    assert after_second.items() <= _manifests(runs).items()
    for name in ("curve", "final"):
        pd.testing.assert_frame_equal(
            finished.table(name).drop(columns=["wall_s"], errors="ignore"),
            smoke.table(name).drop(columns=["wall_s"], errors="ignore"),
        )


def test_ctrl_c_ends_all_processes_and_leaves_a_run_that_can_be_continued(
    run_here: Run, start: Start, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    process = start(runs, "method=dpo")
    wait_for(
        lambda: any((runs / "store" / "policy").glob("*.partial/metrics.jsonl")),
        process,
        DEADLINE_S,
    )
    driver = psutil.Process(process.pid)
    processes = [driver, *driver.children(recursive=True)]
    titles = " ".join(" ".join(one.cmdline()[:1]) for one in processes)
    assert all(role in titles for role in ("gcs_server", "raylet", "ray::Worker"))

    os.killpg(process.pid, signal.SIGINT)
    since = time.monotonic()
    output, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(processes, timeout=60)
    stopped_s = time.monotonic() - since
    print(f"all {len(processes)} processes ended {stopped_s:.1f} s after Ctrl-C")
    assert not alive
    assert stopped_s < STOPPED_WITHIN_S
    assert process.returncode == 130, output
    assert "Traceback" not in output

    for lock in runs.rglob("*.lock"):
        with FileLock(lock, timeout=0):
            pass
    published = [
        path for path in (runs / "store").glob("*/*/")
        if path.suffix not in (".partial", ".tmp")
    ]  # fmt: skip
    assert published
    assert all((path / "manifest.json").exists() for path in published)

    (interrupted,) = run_folders(runs)
    assert Finished(interrupted).info["status"] == "running"
    before = _manifests(runs)
    continued = run_here(runs, "method=dpo")
    assert continued.path == interrupted
    keys = {stage["key"] for stage in continued.info["stages"] if stage["reused"]}
    # A checkpoint belongs to the stage that was interrupted, and is none itself.
    stages = {path.name for path in published if path.parent.name != CHECKPOINT_STAGE}
    assert stages <= keys
    assert before.items() <= _manifests(runs).items()


def test_missing_file_is_an_error_for_people(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path / "runs", "data=files", f"data.path={tmp_path / 'no.jsonl'}")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == DataError.exit_code
    assert "no.jsonl" in output
    assert "Traceback" not in output
    assert not _manifests(tmp_path / "runs")
