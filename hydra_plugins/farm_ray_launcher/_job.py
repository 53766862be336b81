"""A job of a sweep, as its launcher sees it and as a Ray process runs it."""

import os
import socket
import time
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from farm.errors import ClusterError
from farm.ray_session import python_path
from farm.sweep import outcome_of
from hydra_plugins.farm_ray_launcher._output import Followed, redirect_output

_RESULT_TIMEOUT_S = 60.0
_WIDTH = "1000"
"""Columns of the output: who shows a line breaks it."""


class Job:
    """One job, from its start to its result."""

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        label: str,
        folder: Path,
    ) -> None:
        """`folder` is where its output goes."""
        number = config.hydra.job.num
        self._prefix = f"[job {number} {label}]"
        self._arguments = (context, task, config)
        self._output = Followed(folder / f"job-{number}.log")
        self.result = JobReturn(overrides=list(config.hydra.overrides.task))

    def start(self) -> Any:
        """Have a fresh process run it; the reference to its result."""
        import ray

        function = ray.remote(
            name=self._prefix,  # and the process's
            num_cpus=0,
            max_calls=1,  # the next job gets a process of its own
            max_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {"PYTHONPATH": python_path(), "COLUMNS": _WIDTH}},
        )(run)
        self._started = time.monotonic()
        return function.remote(*self._arguments, self._output.path, Path.cwd())

    def show_output(self) -> None:
        """Print what is new, behind the job's name."""
        for line in self._output.new_lines():
            print(f"{self._prefix} {line}", flush=True)

    def end(self, reference: Any) -> None:
        """Take the result, or note why there is none, and say how it ended."""
        import ray
        from ray.exceptions import RayError

        from farm.reporting.formats import duration

        try:
            self.result = ray.get(reference, timeout=_RESULT_TIMEOUT_S)
        except RayError as error:
            self.result.status = JobStatus.FAILED
            self.result.return_value = _reason(error)
        self.show_output()
        outcome = outcome_of(self.result)
        how = f"failed: {outcome.error}" if outcome.status else "finished"
        print(f"{self._prefix} {how} ({duration(time.monotonic() - self._started)})", flush=True)


def _reason(error: Exception) -> ClusterError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, ClusterError):
        return cause
    problem = str(cause or error).partition(". ")[0]
    return ClusterError(f"the job's process ended before the job did: {problem}")


def run(
    context: HydraContext, task: TaskFunction, config: DictConfig, output: Path, folder: Path
) -> JobReturn:
    """What the job's own process does: work in the launcher's folder, write to the file `output`.
    Raises ClusterError where this machine has no such folder."""
    if not folder.is_dir() or not output.parent.is_dir():
        raise ClusterError(
            f"{socket.gethostname()} has no folder {folder} or no {output.parent}: machines of a "
            "cluster need a shared file system for the working folder and runs_dir."
        )
    os.chdir(folder)
    redirect_output(output)
    setup_globals()
    return run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
