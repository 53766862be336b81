"""Ray: start it or join it, keep warm workers, restart the dead, time out the hung.

On `cluster=local` one actor plays every role and uses all cores; what more of them claim stands in
`farm.placement`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from farm.errors import ClusterError
from farm.leases import leased
from farm.placement import shortage
from farm.pool import Pool, start_pool
from farm.ray_session import connect
from farm.settings import ClusterSettings
from farm.stages.job import Job
from farm.worker import Progress
from farm.worker_group import WorkerGroup, WorkersLost


class Cluster:
    """A group of warm workers, started when the first job comes."""

    def __init__(self, settings: ClusterSettings, on_message: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = on_message
        self._group: WorkerGroup | None = None
        self._pools: dict[str, Pool] = {}
        self._started_ray = False

    def run(self, job: Job, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        """Run a job. Workers of which one dies or hangs are replaced, and the new ones continue
        from the job's work folder, at most `cluster.max_restarts` times; then ClusterError."""
        for restarts_left in reversed(range(self._settings.max_restarts + 1)):
            try:
                return self._attempt(job, on_progress)
            except WorkersLost as lost:
                reason, log = str(lost), lost.log
                self._say(f"{job.stage}: {reason}; {restarts_left} restarts left.{log}")
        raise ClusterError(
            f"Stage {job.stage} lost its worker {self._settings.max_restarts + 1} times, the last "
            f"time because of {reason} (cluster.max_restarts={self._settings.max_restarts}). Its "
            f"partial work is kept in {job.work}; the workers' logs are in Ray's session folder."
            f"{log}"
        )

    @contextmanager
    def sole_builder(self, name: str, on_wait: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """The right to build what has that name, among all drivers of the cluster; a function that
        raises StoreError when it is lost. `on_wait` as in `farm.leases.leased`. On a cluster of
        this machine alone, the store's file locks do."""
        if self._settings.address == "local":
            yield lambda: None
            return
        self._join()
        with leased(name, on_wait) as lease:
            yield lease.check

    def _attempt(self, job: Job, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        """Whatever fails, ranks that wait for each other could not do another job."""
        group = self._warm_group()
        try:
            settings = self._settings
            samplers = self._pool("samplers", settings.samplers, settings.gpus_per_sampler)
            scorers = self._pool("scorers", settings.scorers, settings.gpus_per_scorer)
            return group.run(replace(job, samplers=samplers, scorers=scorers), on_progress)
        except Exception as error:
            if job.together or isinstance(error, WorkersLost):
                self._stop_group()
            raise

    def _warm_group(self) -> WorkerGroup:
        if self._group is None:
            self._join()
            self._check_room()
            self._group = WorkerGroup(self._settings)
        return self._group

    def _pool(self, name: str, count: int, gpus: float) -> Pool:
        """Started when it is first asked for."""
        if name in self._pools:
            return self._pools[name]
        settings = self._settings
        self._pools[name] = start_pool(
            count,
            gpus=gpus,
            restarts=settings.max_restarts,
            timeout_s=settings.call_timeout_s,
            start_timeout_s=settings.start_timeout_s,
            key=f"cluster.{name}",
        )
        return self._pools[name]

    def _join(self) -> None:
        import ray

        if not ray.is_initialized():
            connect(self._settings, self._settings.num_cpus)
            self._started_ray = True

    def _check_room(self) -> None:
        """Raise ClusterError for what could never be placed, instead of waiting for it."""
        import ray

        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        lacking = shortage(self._settings, machines)
        if lacking is not None and not self._settings.grows:
            raise ClusterError(
                f"{lacking}; where machines are added on demand, set cluster.grows=true."
            )

    def _stop_group(self) -> None:
        if self._group is not None:
            self._group.stop()
            self._group = None

    def close(self) -> None:
        """Stop the workers, and Ray if it was started here."""
        self._stop_group()
        while self._pools:
            self._pools.popitem()[1].stop()
        if self._started_ray:
            import ray

            ray.shutdown()
            self._started_ray = False
