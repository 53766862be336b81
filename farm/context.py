"""What a stage may use besides its inputs: seed, work folder, tuning, metrics and checkpoints."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from farm.artifacts import write_text
from farm.generation.engines import Engine, own_decoder
from farm.pool import Here, Pool
from farm.protocols import Tuning
from farm.training.ranks import Alone, Ranks
from farm.types import PolicyRef

MetricsCallback = Callable[[int, int, Mapping[str, float]], None]
CheckpointCallback = Callable[[int, Callable[[Path], None]], None]

NOTES = "notes.json"


def read_notes(work: Path) -> list[str]:
    """What was noted in a work folder."""
    path = work / NOTES
    notes: list[str] = json.loads(path.read_text()) if path.exists() else []
    return notes


@dataclass
class Context:
    """Handed to `Learner.fit` and `RewardLearner.fit` by the pipeline."""

    seed: int
    work: Path
    """A private folder that survives a kill: what is found there on entry is continued."""
    tuning: Tuning
    device: str = "cpu"
    """A torch device."""
    ranks: Ranks = field(default_factory=Alone)
    """Who trains together; all of them call `fit`, with the same arguments."""
    samplers: Pool = field(default_factory=Here)
    """Who draws answers."""
    engine_of: Callable[[PolicyRef], Engine] = own_decoder
    """What draws the answers of a policy that learns from this one on."""
    scorers: Pool = field(default_factory=Here)
    """Who scores them."""
    on_progress: MetricsCallback | None = None
    """Called with (step, total, metrics) for the progress bar."""
    on_checkpoint: CheckpointCallback | None = None
    """Called with (step, save) for every checkpoint that is to be evaluated."""
    check_fence: Callable[[], None] = field(default=lambda: None)
    """Raises when another run has taken this work folder over."""

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Report progress and append one line to `metrics.jsonl`; `step` counts from 1."""
        self.check_fence()
        line = {"step": step, **metrics, "time_s": time.time()}
        with (self.work / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.on_progress is not None:
            self.on_progress(step, total, metrics)

    def rewind_metrics(self, step: int) -> None:
        """Drop the lines after `step`, when training continues from that step's state."""
        path = self.work / "metrics.jsonl"
        if not path.exists():
            return
        whole = [line for line in path.read_text().splitlines(keepends=True) if line[-1] == "\n"]
        path.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))

    def note(self, text: str) -> None:
        """Tell the readers of the run: the text becomes one of its warnings."""
        known = read_notes(self.work)
        if text not in known:
            self.keep(NOTES, json.dumps([*known, text]))

    def keep(self, name: str, text: str) -> None:
        """Write a small file of the work folder; a kill leaves the old one or the new one."""
        self.check_fence()
        write_text(self.work / name, text)

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """Publish the policy at `step` for evaluation; `save` writes a transformers directory."""
        self.check_fence()
        if self.on_checkpoint is not None:
            self.on_checkpoint(step, save)


class Follower(Context):
    """The context of every rank but the first: shows that it lives, and writes nothing."""

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """A sign of life."""
        self.check_fence()
        if self.on_progress is not None:
            self.on_progress(step, total, metrics)

    def rewind_metrics(self, step: int) -> None:
        """Rank 0 does."""

    def keep(self, name: str, text: str) -> None:
        """Rank 0 does."""

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """Rank 0 does."""
