"""The process that runs stages: a warm Ray actor that keeps torch and the libraries imported."""

import importlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from farm.artifacts import holding_work
from farm.stages.job import Job


@dataclass(frozen=True)
class Progress:
    """How far the running stage is."""

    step: int = 0
    total: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    beat: int = 0
    """Grows with every report, so that a hung worker shows."""


class Worker:
    """Runs one job at a time in the concurrency group `work`; answers about it in `control`."""

    def __init__(self, threads: int | None) -> None:
        """`threads` is how many torch uses; None: one for each core of this machine."""
        self._threads = threads or os.cpu_count() or 1
        self._progress = Progress()
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self._imports = threading.Thread(target=_import_heavy_libraries, daemon=True)
        self._imports.start()

    def process_id(self) -> int:
        """The operating system's id of this process."""
        return os.getpid()

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
        with holding_work(job.work):
            job.check_fence()
            function = load_function(job.function)
            return function(replace(job, on_progress=self._report, device=best_device()))

    def _report(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        self._progress = Progress(step, total, dict(metrics), self._progress.beat + 1)


def load_function(path: str) -> Callable[[Job], dict[str, Any]]:
    """The function that `package.module:name` names."""
    module, name = path.split(":")
    function: Callable[[Job], dict[str, Any]] = getattr(importlib.import_module(module), name)
    return function


def _import_heavy_libraries() -> None:
    """Warm the imports while the driver sets up its first stage."""
    importlib.import_module("transformers.trainer")
    importlib.import_module("trl")
