"""Runs that are really killed, and runs that are mistyped."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from farm.artifacts import Store

from .conftest import Finished, run_folders, start_process

DEADLINE_S = 240.0


def _wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the run never came that far"
        time.sleep(0.02)


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
    smoke: Finished, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    process = start_process(runs)
    _wait_for(lambda: any((runs / "store").glob("judgments/*.partial")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    after_first = _manifests(runs)
    assert any(name.startswith("policy/") for name in after_first)

    process = start_process(runs)
    _wait_for(lambda: _training(runs, 3), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    after_second = _manifests(runs)
    assert after_first.items() <= after_second.items()

    process = start_process(runs)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert after_second.items() <= _manifests(runs).items()
    (path,) = run_folders(runs)
    finished = Finished(path)
    assert finished.info["status"] == "finished"
    for name in ("curve", "final"):
        pd.testing.assert_frame_equal(
            finished.table(name).drop(columns=["wall_s"], errors="ignore"),
            smoke.table(name).drop(columns=["wall_s"], errors="ignore"),
        )


def test_interrupt_stops_all_processes_and_leaves_the_store_consistent(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = start_process(runs)
    _wait_for(lambda: any((runs / "store" / "policy").glob("*.partial/metrics.jsonl")), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    store = Store(runs / "store")
    for manifest in (runs / "store").glob("*/*/manifest.json"):
        artifact = store.find(manifest.parent.parent.name, manifest.parent.name)
        assert artifact is not None
        assert artifact.manifest["key"] == artifact.key
    (folder,) = run_folders(runs)
    assert json.loads((folder / "run.json").read_text())["status"] == "running"


def test_missing_file_is_an_error_for_people(tmp_path: Path) -> None:
    process = start_process(tmp_path / "runs", "data=files", f"data.path={tmp_path / 'no.jsonl'}")
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "no.jsonl" in output
    assert "Traceback" not in output
    assert os.listdir(tmp_path) in ([], ["runs"])
