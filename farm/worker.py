"""The process that runs stages: a warm Ray actor that keeps torch and the libraries imported."""

import importlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple

from farm.elsewhere import Supplied, opened
from farm.pool import helped_by, work_in
from farm.stages.job import Job
from farm.training.ranks import Alone, Group, Ranks, ShardingGroup
from farm.work_folder import holding_work


@dataclass(frozen=True)
class Progress:
    """How far the running stage is."""

    step: int = 0
    total: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    beat: int = 0
    """Grows with every report, so that a hung worker shows."""


class Home(NamedTuple):
    """Where a worker lives and where what it prints goes."""

    node: str
    """Ray's id of its machine."""
    stdout: str
    stderr: str


class Rank(NamedTuple):
    """A worker's place among those that train together."""

    rank: int
    ranks: int
    on_machine: int
    """How many of them share its machine's cores."""
    sharded: bool
    """Whether each holds a part of every weight."""


class Sparing:
    """Does something at most a tenth of the time."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._due_s = time.monotonic()

    def __call__(self) -> None:
        """Do it, if it is due."""
        began_s = time.monotonic()
        if began_s >= self._due_s:
            self._act()
            ended_s = time.monotonic()
            self._due_s = ended_s + 9 * (ended_s - began_s)


class Worker:
    """Runs one job at a time in the concurrency group `work`; answers about it in `control`."""

    def __init__(self, threads: int | None, folder: str) -> None:
        """`threads` is how many torch uses; None: one for each core of this machine. `folder` is
        the driver's, which relative paths begin from where this machine has it."""
        work_in(folder)
        self._threads = threads or os.cpu_count() or 1
        self._progress = Progress()
        self._ranks: Ranks = Alone()
        self._save = Sparing(lambda: None)
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self._imports = threading.Thread(target=_import_heavy_libraries, daemon=True)
        self._imports.start()

    def home(self) -> Home:
        """Of this process."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Home(node, *(os.path.realpath(f"/proc/self/fd/{number}") for number in (1, 2)))

    def free_address(self) -> tuple[str, int]:
        """HOST and PORT on this machine that the ranks can meet at."""
        import ray

        with socket.socket() as found:
            found.bind(("", 0))
            return ray.util.get_node_ip_address(), found.getsockname()[1]

    def connect(self, address: tuple[str, int], place: Rank, timeout_s: float) -> None:
        """Become a rank of a process group that meets at `address`; returns when all are there."""
        import torch
        from torch import distributed

        self._imports.join()
        host, port = address
        os.environ |= {
            "RANK": str(place.rank),
            "WORLD_SIZE": str(place.ranks),
            "LOCAL_RANK": "0",  # every rank sees its own devices alone
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
        }
        # The driver loses patience after `timeout_s` and starts the group again; an exchange that
        # timed out before would look like an error of the job.
        patience = timedelta(seconds=2 * timeout_s)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(
            backend, rank=place.rank, world_size=place.ranks, timeout=patience
        )
        self._threads = max(1, self._threads // place.on_machine)
        self._ranks = ShardingGroup() if place.sharded else Group()

    def progress(self) -> Progress:
        """How far the running stage is."""
        return self._progress

    def run(self, job: Job) -> dict[str, Any]:
        """Run the job's function while holding its work folder; its results go to the manifest."""
        # While transformers and trl are imported they swap themselves for lazy modules: a second
        # thread that imports from them meanwhile is left with the unfinished ones.
        self._imports.join()
        import torch

        from farm.models.load import best_device

        torch.set_num_threads(self._threads)
        self._progress = Progress()
        ranks = self._ranks if job.together else Alone()
        job.folder.reach()
        with holding_work(job.work) if ranks.rank == 0 else nullcontext():
            ranks = opened(job.folder, ranks)
            parents = list(job.parents.values())
            job.store.have(parents)
            self._save = Sparing(job.folder.save if ranks.rank == 0 else lambda: None)
            function = load_function(job.function)
            given = replace(
                job,
                on_progress=self._report,
                device=best_device(),
                ranks=ranks,
                samplers=Supplied(job.samplers, job.store, parents),
                scorers=Supplied(job.scorers, job.store, parents),
            )
            with helped_by(given.scorers):
                results = function(given)
            if ranks.rank == 0:
                job.folder.save()
        return results

    def _report(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        self._progress = Progress(step, total, dict(metrics), self._progress.beat + 1)
        self._save()


def load_function(path: str) -> Callable[[Job], dict[str, Any]]:
    """The function that `package.module:name` names."""
    module, name = path.split(":")
    function: Callable[[Job], dict[str, Any]] = getattr(importlib.import_module(module), name)
    return function


def _import_heavy_libraries() -> None:
    """Warm the imports while the driver sets up its first stage."""
    importlib.import_module("transformers.trainer")
    importlib.import_module("trl")
