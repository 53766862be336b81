"""Where the metrics of a run are put besides its folder's `metrics.jsonl`."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

Rows = Sequence[Mapping[str, Any]]
"""One learner's logged steps: `step`, the metrics, `time_s`."""


class Tracker(Protocol):
    """Puts the metrics of a run where they can be looked at."""

    def write(self, folder: Path, stages: Mapping[str, Rows]) -> None:
        """Write all steps of the stages into the run's folder, over what is there; called after
        each stage that learns, with all stages so far."""
        ...


class Jsonl:
    """Nothing besides the `metrics.jsonl` that every run's folder has."""

    stage_version: ClassVar[int] = 1

    def write(self, folder: Path, stages: Mapping[str, Rows]) -> None:
        """Leave the folder as it is."""


class TensorBoard:
    """Event files in the folder `tensorboard`, with a tag per stage and metric."""

    stage_version: ClassVar[int] = 1
    requires: ClassVar[Mapping[str, str]] = {
        "tensorboard": "pip install -e '.[tracking]', or choose tracking=jsonl"
    }

    def write(self, folder: Path, stages: Mapping[str, Rows]) -> None:
        """Replace the run's event files."""
        from torch.utils.tensorboard import SummaryWriter

        events = folder / "tensorboard"
        if events.exists():
            shutil.rmtree(events)
        with SummaryWriter(events) as writer:
            for stage, rows in stages.items():
                for row in rows:
                    _add_row(writer, stage, row)


def _add_row(writer: Any, stage: str, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if name not in ("step", "time_s"):
            writer.add_scalar(f"{stage}/{name}", value, row["step"], walltime=row["time_s"])
