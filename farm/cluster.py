"""Ray: start it or join it, keep warm workers, restart the dead, time out the hung.

On `cluster=local` one actor plays every role and uses all cores. Roles claim no logical CPUs:
Ray would give an actor with one CPU a single thread, and one with all CPUs would block the rest.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from farm.errors import ClusterError, FarmError
from farm.settings import ClusterSettings
from farm.stages.job import Job
from farm.worker import Progress, Worker

_POLL_S = 0.1
_CONTROL_TIMEOUT_S = 30.0


class Cluster:
    """A group of warm workers, started when the first job comes."""

    def __init__(self, settings: ClusterSettings, on_message: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = on_message
        self._worker: Any = None
        self._started_ray = False

    def run(self, job: Job, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        """Run a job on a worker. A worker that dies or hangs is replaced, and the new one continues
        from the job's work folder, at most `cluster.max_restarts` times; then ClusterError."""
        for restarts_left in reversed(range(self._settings.max_restarts + 1)):
            try:
                return self._attempt(job, on_progress)
            except _WorkerLost as lost:
                self._stop_worker()
                reason = str(lost)
                self._say(f"{job.stage}: {reason}; {restarts_left} restarts left")
        raise ClusterError(
            f"Stage {job.stage} lost its worker {self._settings.max_restarts + 1} times, the last "
            f"time because of {reason} (cluster.max_restarts={self._settings.max_restarts}). Its "
            f"partial work is kept in {job.work}; the workers' logs are in Ray's session folder."
        )

    def _attempt(self, job: Job, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

        worker = self._warm_worker()
        reference = worker.run.remote(job)
        last_beat, since = -1, time.monotonic()
        try:
            while not ray.wait([reference], timeout=_POLL_S)[0]:
                progress = ray.get(worker.progress.remote(), timeout=_CONTROL_TIMEOUT_S)
                if progress.beat != last_beat:
                    last_beat, since = progress.beat, time.monotonic()
                if time.monotonic() - since > self._settings.call_timeout_s:
                    raise _WorkerLost(
                        f"no progress for {self._settings.call_timeout_s:.0f} s "
                        "(cluster.call_timeout_s)"
                    )
                on_progress(progress)
            results: dict[str, Any] = ray.get(reference, timeout=_CONTROL_TIMEOUT_S)
        except RayTaskError as error:
            if isinstance(error.cause, FarmError):
                raise error.cause from None
            raise
        except RayActorError as error:
            raise _WorkerLost("the death of its process") from error
        except GetTimeoutError as error:
            raise _WorkerLost(
                f"no answer from its process for {_CONTROL_TIMEOUT_S:.0f} s"
            ) from error
        return results

    def _warm_worker(self) -> Any:
        import ray
        from ray.exceptions import GetTimeoutError

        if self._worker is not None:
            return self._worker
        self._join()
        actor = ray.remote(
            num_cpus=0, concurrency_groups={"work": 1, "control": 2}, max_restarts=0
        )(_grouped_worker())
        self._worker = actor.remote(self._settings.num_cpus)
        try:
            ray.get(self._worker.process_id.remote(), timeout=self._settings.start_timeout_s)
        except GetTimeoutError as error:
            raise ClusterError(
                f"No worker started within {self._settings.start_timeout_s:.0f} s "
                "(cluster.start_timeout_s)."
            ) from error
        return self._worker

    def _join(self) -> None:
        import ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would let everybody else go first
        local = self._settings.address == "local"
        options: dict[str, Any] = {}
        if local:
            options = {
                "num_cpus": self._settings.num_cpus,
                "object_store_memory": self._settings.object_store_memory_bytes,
                "include_dashboard": False,
            }
        try:
            with _own_sigterm_handler():
                ray.init(
                    address=self._settings.address,
                    log_to_driver=False,
                    logging_level="ERROR",
                    configure_logging=True,
                    **options,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterError(
                f"Ray did not start with cluster.address={self._settings.address}: {error}"
            ) from error
        self._started_ray = True

    def _stop_worker(self) -> None:
        import ray

        if self._worker is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(self._worker)
            self._worker = None

    def close(self) -> None:
        """Stop the workers, and Ray if it was started here."""
        if self._worker is not None:
            self._stop_worker()
        if self._started_ray:
            import ray

            ray.shutdown()
            self._started_ray = False


@contextlib.contextmanager
def _own_sigterm_handler() -> Iterator[None]:
    """Keep this process's SIGTERM handler, which `ray.init` replaces by one of its own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


class _WorkerLost(Exception):
    """The worker is gone or hangs; its job can be continued by another."""


def _grouped_worker() -> type[Worker]:
    """`Worker` with its methods in Ray's concurrency groups, so that questions about a running
    job are answered while it runs."""
    import ray

    class GroupedWorker(Worker):
        run = ray.method(concurrency_group="work")(Worker.run)
        progress = ray.method(concurrency_group="control")(Worker.progress)
        process_id = ray.method(concurrency_group="control")(Worker.process_id)

    GroupedWorker.__name__ = GroupedWorker.__qualname__ = "Worker"
    return GroupedWorker
