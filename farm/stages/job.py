"""What a stage's function is given, wherever it runs."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from farm.artifacts import Store, key_of, write_json
from farm.config import build
from farm.context import Context, Follower, MetricsCallback
from farm.generation.engines import Engine, engine_of, own_decoder
from farm.pool import Here, Pool
from farm.training.ranks import Alone, Ranks
from farm.types import PolicyRef
from farm.work_folder import WorkFolder, check_fence

CHECKPOINT_STAGE = "checkpoint"


def checkpoint_key(policy_key: str, step: int) -> str:
    """The key of a learner's checkpoint; it depends on nothing but the learner's own key."""
    return key_of({"stage": CHECKPOINT_STAGE, "policy": policy_key, "step": step})


@dataclass(frozen=True)
class Job:
    """One stage to run: picklable, so that it travels to an actor."""

    function: str
    """`package.module:name` of a function that takes a Job."""
    stage: str
    key: str
    work: Path
    token: str
    store: Store
    config: Mapping[str, Any]
    parents: Mapping[str, Path]
    seed: int
    together: bool = False
    """Whether all learners run it, each as a rank; else the first one does."""
    device: str = "cpu"
    ranks: Ranks = field(default_factory=Alone, compare=False)
    samplers: Pool = field(default_factory=Here, compare=False)
    scorers: Pool = field(default_factory=Here, compare=False)
    """Who scores answers, and helps whatever else computes (`farm.pool.helpers`)."""
    on_progress: MetricsCallback | None = field(default=None, compare=False)

    @property
    def folder(self) -> WorkFolder:
        """The work folder as this machine has it."""
        return self.store.work_folder(self.work, self.token)

    def check_fence(self) -> None:
        """Raise StoreError when another run has taken the work folder over."""
        check_fence(self.work, self.token)

    def progress(
        self, step: int, total: int, metrics: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        """Report progress; `metrics` are shown beside it."""
        self.check_fence()
        if self.on_progress is not None:
            self.on_progress(step, total, metrics)

    def context(self) -> Context:
        """The context of a learner that trains in this job."""
        kind = Context if self.ranks.rank == 0 else Follower
        return kind(
            seed=self.seed,
            work=self.work,
            tuning=build(self.config["tuning"]),
            device=self.device,
            ranks=self.ranks,
            samplers=self.samplers,
            engine_of=self._engine_of if "sampler" in self.config else own_decoder,
            scorers=self.scorers,
            on_progress=self.on_progress,
            on_checkpoint=_Checkpoints(self),
            check_fence=self.check_fence,
        )

    def _engine_of(self, start: PolicyRef) -> Engine:
        return engine_of(build(self.config["sampler"])(policy=start))


class _Checkpoints:
    """Publishes a learner's checkpoints as artefacts; remembers their steps in the work folder."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._index = job.work / "checkpoints.json"
        self._since = time.monotonic()
        self._before_s = max((c["wall_s"] for c in self._known().values()), default=0.0)

    def _known(self) -> dict[str, dict[str, Any]]:
        known: dict[str, dict[str, Any]] = (
            json.loads(self._index.read_text()) if self._index.exists() else {}
        )
        return known

    def __call__(self, step: int, save: Callable[[Path], None]) -> None:
        key = checkpoint_key(self._job.key, step)
        policy = f"{self._job.stage}/{self._job.key}"
        store = self._job.store
        store.keep(store.add(CHECKPOINT_STAGE, key, save, parents={"policy": policy}, step=step))
        wall_s = self._before_s + time.monotonic() - self._since
        write_json(self._index, {**self._known(), str(step): {"key": key, "wall_s": wall_s}})
