"""Where the metrics of a run are put besides the store: a JSON-lines file, TensorBoard."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from farm.errors import FarmError

Rows = Sequence[Mapping[str, Any]]
"""One learner's logged steps: `step`, the metrics, `time_s`."""


class Tracker(Protocol):
    """Puts the metrics of a run where they can be looked at."""

    def write(self, folder: Path, stages: Mapping[str, Rows]) -> None:
        """Write all steps of all stages into the run's folder, over what is there."""
        ...


class Jsonl:
    """`metrics.jsonl`: one JSON object a line, each with its `stage`."""

    stage_version: ClassVar[int] = 1

    def write(self, folder: Path, stages: Mapping[str, Rows]) -> None:
        """Replace the run's `metrics.jsonl`."""
        lines = [
            json.dumps({"stage": stage, **row}) + "\n"
            for stage, rows in stages.items()
            for row in rows
        ]
        (folder / "metrics.jsonl").write_text("".join(lines))


class TensorBoard:
    """`metrics.jsonl`, and event files in `tensorboard/` with a tag per stage and metric.

    Raises `FarmError` when the package `tensorboard` is missing.
    """

    stage_version: ClassVar[int] = 1

    def write(self, folder: Path, stages: Mapping[str, Rows]) -> None:
        """Replace the run's metrics and event files."""
        Jsonl().write(folder, stages)
        events = folder / "tensorboard"
        if events.exists():
            shutil.rmtree(events)
        with _summary_writer(events) as writer:
            for stage, rows in stages.items():
                for row in rows:
                    _add_row(writer, stage, row)


def _add_row(writer: Any, stage: str, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if name not in ("step", "time_s"):
            writer.add_scalar(f"{stage}/{name}", value, row["step"], walltime=row["time_s"])


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise FarmError(
            "tracking=tensorboard needs the package tensorboard: pip install -e '.[tracking]', "
            "or choose tracking=jsonl."
        ) from None
    return SummaryWriter(folder)
