"""Where the metrics of a run go while it runs: a JSON-lines file, TensorBoard."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from farm.errors import FarmError


class Tracker(Protocol):
    """Receives every logged step of every stage."""

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one step; `step` counts from 1 within its stage."""
        ...


class Jsonl:
    """Appends one JSON object per step to `metrics.jsonl` in the run's folder."""

    stage_version: ClassVar[int] = 1

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line with `stage`, `step`, the metrics and `time_s` (seconds since 1970)."""
        line = {"stage": stage, "step": step, **metrics, "time_s": time.time()}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class TensorBoard:
    """Writes `metrics.jsonl` and TensorBoard's event files, one tag per stage and metric.

    Raises `FarmError` when the package `tensorboard` is missing.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, folder: Path) -> None:
        self._lines = Jsonl(folder)
        self._folder = folder / "tensorboard"
        self._writer: Any = None

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Write one point per metric, at once."""
        self._lines.log(stage, step, metrics)
        if self._writer is None:
            self._writer = _summary_writer(self._folder)
        for name, value in metrics.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
        self._writer.flush()


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise FarmError(
            "tracking=tensorboard needs the package tensorboard: pip install -e '.[tracking]', "
            "or choose tracking=jsonl."
        ) from None
    return SummaryWriter(folder)
