"""`runs/<time>-<name>/`: a view of one run, made of pointers into the store and small tables."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from farm.artifacts import key_of, write_json
from farm.errors import ConfigError
from farm.tracking import Rows


class RunFolder:
    """One run's folder while the run is going on."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = path
        self._config_key = key_of(config)

    def begin(self, config_yaml: str, info: Mapping[str, Any]) -> None:
        """Write the resolved config and mark the run as running."""
        (self.path / "config.yaml").write_text(config_yaml)
        self.write_info({**info, "status": "running"})

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Replace `run.json`."""
        write_json(self.path / "run.json", {**info, "config_key": self._config_key})

    def write_metrics(self, stages: Mapping[str, Rows]) -> None:
        """Replace `metrics.jsonl`: one JSON object a line, each with its `stage`."""
        lines = [
            json.dumps({"stage": stage, **row}) + "\n"
            for stage, rows in stages.items()
            for row in rows
        ]
        (self.path / "metrics.jsonl").write_text("".join(lines))


@contextmanager
def run_folder(runs: Path, name: str, config: Mapping[str, Any]) -> Iterator[RunFolder]:
    """The folder of the unfinished run of the same config, where there is one and nobody works on
    it; else a new one. Raises ConfigError where `runs` cannot be made or written to."""
    _make(runs)
    for path in chain(_unfinished(runs, key_of(config)), _new_paths(runs, name)):
        lock = FileLock(path.parent / f".{path.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            path.mkdir(exist_ok=True)
            yield RunFolder(path, config)
        finally:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
        return


def _make(runs: Path) -> None:
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"runs_dir={runs}: no such folder, and none can be made ({error.strerror}). Give one "
            "that can be written to."
        ) from error
    if not os.access(runs, os.W_OK):
        raise ConfigError(f"runs_dir={runs}: it cannot be written to. Give a folder that can.")


def _unfinished(runs: Path, config_key: str) -> Iterator[Path]:
    for info_path in sorted(runs.glob("*/run.json")):
        info = json.loads(info_path.read_text())
        if info["config_key"] == config_key and info["status"] != "finished":
            yield info_path.parent


def _new_paths(runs: Path, name: str) -> Iterator[Path]:
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    number = 1
    while True:
        path = runs / (stem if number == 1 else f"{stem}-{number}")
        if not path.exists():
            yield path
        number += 1
