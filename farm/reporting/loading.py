"""Reads the folder of a finished run.

Units in its tables: rates are percent against the reference, wall time seconds, KL nats per
answer, lengths characters, cost US dollars; gold utility and proxy reward have their own scales.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from farm.errors import FarmError


@dataclass(frozen=True)
class Run:
    """A finished run, loaded."""

    path: Path
    config: dict[str, Any]
    """As resolved."""
    info: dict[str, Any]
    """`run.json`: name, seed, method, selected_step, reference, stages, labels, cost, versions."""
    metrics: pd.DataFrame
    """What the learners logged: stage, step and their metrics."""
    curve: pd.DataFrame
    """One row per checkpoint, on `validation`."""
    items: pd.DataFrame
    """One row per checkpoint and instruction, on `validation`."""
    final: pd.DataFrame
    """One row per policy, on `evaluation`."""
    final_items: pd.DataFrame
    """One row per instruction of `evaluation` for each learned policy; `role` says which."""
    samples: pd.DataFrame
    """Answers side by side."""

    @property
    def name(self) -> str:
        """The folder's name, which no other run beside it shares."""
        return self.path.name


def load_run(path: Path | str) -> Run:
    """The run in this folder; raises `FarmError` where there is none, or an unfinished one."""
    path = Path(path)
    info = _info(path)
    if info["status"] != "finished":
        raise FarmError(
            f"{path}: this run is {info['status']}; start the same command again to finish it."
        )
    config: Any = OmegaConf.to_container(OmegaConf.load(path / "config.yaml"))
    metrics = pd.read_json(path / "metrics.jsonl", lines=True, dtype=False)
    tables = ("curve", "curve_items", "final", "final_items", "samples")
    return Run(path, config, info, metrics, *(_table(path, name) for name in tables))


def load_runs(*paths: Path | str) -> list[Run]:
    """Runs by their folders, or all finished runs in a folder of runs; oldest first.

    Raises `FarmError` where a path holds no finished run.
    """
    return [load_run(folder) for path in paths for folder in _folders(Path(path))]


def _folders(path: Path) -> list[Path]:
    if (path / "run.json").exists():
        return [path]
    folders = sorted(p.parent for p in path.glob("*/run.json"))
    finished = [folder for folder in folders if _info(folder)["status"] == "finished"]
    if not finished:
        raise FarmError(
            f"{path}: no finished run here. Give a run's folder, or a folder of runs, such as "
            "the `runs` that `python -m farm.run` writes."
        )
    return finished


def _info(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    if not file.exists():
        raise FarmError(f"{path}: not a run, it has no run.json. Give a folder below `runs`.")
    info: dict[str, Any] = json.loads(file.read_text())
    return info


def _table(path: Path, name: str) -> pd.DataFrame:
    file = path / f"{name}.parquet"
    if not file.exists():
        raise FarmError(f"{file}: missing, so this run cannot be read; run its command again.")
    return pd.read_parquet(file)
