"""`hydra/launcher=ray`: the jobs of a sweep as tasks of a Ray cluster.

The cluster's machines share a file system: that is where the store, the runs and the jobs' output
are. Jobs claim no logical CPUs, or they would wait for ever for the workers that they start.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from farm.checks import require_at_least
from farm.errors import ConfigError
from farm.placement import learner_bundles, pool_bundles, unplaced
from farm.ray_session import connect
from farm.settings import ClusterSettings
from farm.sweep import labels
from hydra_plugins.farm_ray_launcher._job import Job

_POLL_S = 0.3


class RayLauncher(Launcher):
    """Runs jobs side by side. A job whose process dies has failed; the others go on."""

    def __init__(self, jobs_at_once: int | None) -> None:
        """`jobs_at_once`: how many run side by side; None: as many as find room."""
        require_at_least("hydra.launcher.jobs_at_once", jobs_at_once, 1)
        self._jobs_at_once = jobs_at_once

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's: what to run."""
        self._context = hydra_context
        self._task = task_function
        self._config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs; their results in the same order. Raises ConfigError for a command that
        computes nothing on a cluster, ClusterError where Ray can be neither started nor joined."""
        setup_globals()
        configs = [
            self._job_config(overrides, initial_job_idx + index)
            for index, overrides in enumerate(job_overrides)
        ]
        if "cluster" not in configs[0]:
            raise ConfigError("hydra/launcher=ray: this command has no cluster; leave it out.")
        cluster: Any = OmegaConf.to_container(configs[0].cluster, resolve=True)
        settings = ClusterSettings(**cluster)
        with _connected(settings):
            at_once = self._jobs_at_once or _room(settings)
            folder = _output_folder(Path(configs[0].runs_dir))
            print(
                f"{len(configs)} jobs, {min(at_once, len(configs))} at once; their output: {folder}"
            )
            jobs = [
                Job(self._context, self._task, config, label, folder)
                for config, label in zip(configs, labels(job_overrides), strict=True)
            ]
            return _run(jobs, at_once)

    def _job_config(self, overrides: Sequence[str], number: int) -> DictConfig:
        loader = self._context.config_loader
        config: DictConfig = loader.load_sweep_config(self._config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config


def _run(jobs: Sequence[Job], at_once: int) -> list[JobReturn]:
    import ray

    waiting = deque(jobs)
    running: dict[Any, Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.popleft()
                running[job.start()] = job
            done, _ = ray.wait(list(running), timeout=_POLL_S)
            for job in running.values():
                job.show_output()
            for reference in done:
                running.pop(reference).end(reference)
    finally:
        for reference in running:  # after Ctrl-C
            ray.cancel(reference, force=True)
    return [job.result for job in jobs]


def _output_folder(runs: Path) -> Path:
    folder = runs.resolve() / "sweeps" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"runs_dir={runs}: it cannot be written to ({error.strerror}).") from None
    return folder


def _room(settings: ClusterSettings) -> int:
    """How many jobs find room at once: one for each CPU, or fewer where the actors that they
    start claim more than that."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    num_cpus = sum(machine.get("CPU", 0.0) for machine in machines)
    claimed = [*learner_bundles(settings), *pool_bundles(settings)]
    count = 1
    while count < num_cpus and not unplaced(claimed * (count + 1), machines):
        count += 1
    return count


@contextmanager
def _connected(settings: ClusterSettings) -> Iterator[None]:
    """Be connected to the cluster."""
    import ray

    ours = not ray.is_initialized()
    if ours:
        connect(settings, num_cpus=None)  # of the machine; `cluster.num_cpus` is a job's
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()
