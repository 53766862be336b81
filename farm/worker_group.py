"""Warm workers in a placement group; several of them are ranks that train together."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from farm.errors import ClusterError, FarmError
from farm.placement import learner_bundles
from farm.settings import ClusterSettings
from farm.stages.job import Job
from farm.worker import Home, Progress, Rank, Worker

_POLL_S = 0.1
_CONTROL_TIMEOUT_S = 30.0
_SETTLE_S = 10.0
"""A rank whose neighbour has died fails too, and may be heard first."""
_LOG_LINES = 12


class WorkersLost(Exception):
    """A worker is gone or hangs; its job can be continued by others. `log` has its last words, to
    stand behind a sentence."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


class Member(NamedTuple):
    """One worker."""

    actor: Any
    home: Home


class WorkerGroup:
    """`settings.learners` workers; they live until `stop`. Raises ClusterError where they do not
    come up in `settings.start_timeout_s`, WorkersLost where one dies before."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._placement = _placement(settings)
        actors = [self._actor(rank) for rank in range(settings.learners)]
        homes = self._started(actors, [actor.home.remote() for actor in actors])
        self._members = [Member(*member) for member in zip(actors, homes, strict=True)]
        if len(actors) > 1:
            self._connect()

    def run(self, job: Job, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        """Run a job on all ranks, or on the first where it is not done together; what rank 0
        returns. Raises WorkersLost, or the job's own error."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        members = self._members if job.together else self._members[:1]
        references = [member.actor.run.remote(job) for member in members]
        try:
            self._wait(members, references, on_progress)
            results: dict[str, Any] = ray.get(references, timeout=_CONTROL_TIMEOUT_S)[0]
        except (RayTaskError, RayActorError) as error:
            raise self._reason(members, references, error) from None
        return results

    def stop(self) -> None:
        """Kill the workers and give back their room."""
        self._stop([member.actor for member in self._members])

    def _stop(self, actors: list[Any]) -> None:
        import ray

        for actor in actors:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)
        if self._placement is not None:
            ray.util.remove_placement_group(self._placement)

    # ------------------------------------------------------------------------------- starting

    def _actor(self, rank: int) -> Any:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0}
        if self._placement is not None:
            strategy = PlacementGroupSchedulingStrategy(
                self._placement, placement_group_bundle_index=rank
            )
            gpus = self._settings.gpus_per_learner
            options |= {"scheduling_strategy": strategy, "num_gpus": gpus}
        actor = ray.remote(concurrency_groups={"work": 1, "control": 2}, **options)(
            _grouped_worker()
        )
        return actor.remote(self._settings.num_cpus, str(Path.cwd()))

    def _started(self, actors: list[Any], references: list[Any]) -> list[Any]:
        """What the actors answer to a first call."""
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError

        try:
            return list(ray.get(references, timeout=self._settings.start_timeout_s))
        except GetTimeoutError as error:
            self._stop(actors)
            raise ClusterError(
                f"{len(actors)} workers did not start within {self._settings.start_timeout_s:.0f} "
                "s (cluster.start_timeout_s)."
            ) from error
        except RayActorError as error:
            self._stop(actors)
            raise WorkersLost("the death of a process while it started") from error

    def _connect(self) -> None:
        """Make the workers ranks of one process group."""
        actors = [member.actor for member in self._members]
        address = self._started(actors, [actors[0].free_address.remote()])[0]
        nodes = [member.home.node for member in self._members]
        self._started(
            actors,
            [
                actor.connect.remote(
                    address,
                    Rank(rank, len(actors), nodes.count(nodes[rank]), self._settings.sharded),
                    self._settings.call_timeout_s,
                )
                for rank, actor in enumerate(actors)
            ],
        )

    # -------------------------------------------------------------------------------- running

    def _wait(
        self,
        members: list[Member],
        references: list[Any],
        on_progress: Callable[[Progress], None],
    ) -> None:
        """Until all have returned or one has failed, as long as rank 0 shows progress."""
        import ray
        from ray.exceptions import GetTimeoutError

        beat, since, pending = -1, time.monotonic(), references
        while pending:
            done, pending = ray.wait(pending, num_returns=len(pending), timeout=_POLL_S)
            ray.get(done)  # raises what one has failed with
            try:
                progress = ray.get(members[0].actor.progress.remote(), timeout=_CONTROL_TIMEOUT_S)
            except GetTimeoutError:
                raise WorkersLost(
                    f"no answer from its process for {_CONTROL_TIMEOUT_S:.0f} s",
                    _last_words(members[0].home),
                ) from None
            if progress.beat != beat:
                beat, since = progress.beat, time.monotonic()
            if time.monotonic() - since > self._settings.call_timeout_s:
                raise WorkersLost(
                    f"no progress for {self._settings.call_timeout_s:.0f} s "
                    "(cluster.call_timeout_s)",
                    _last_words(members[0].home),
                )
            on_progress(progress)

    def _reason(self, members: list[Member], references: list[Any], first: Exception) -> Exception:
        """Why a job failed, told by all ranks: an error for people, else a death, else the error
        that was heard first."""
        import ray
        from ray.exceptions import RayActorError, RayError, RayTaskError

        ray.wait(references, num_returns=len(references), timeout=_SETTLE_S)
        dead: list[int] = []
        for rank, reference in enumerate(references):
            try:
                ray.get(reference, timeout=0)
            except RayTaskError as error:
                if isinstance(error.cause, FarmError):
                    return error.cause
            except RayActorError:
                dead.append(rank)
            except RayError:
                continue
        if not dead:
            return first
        who = f" of rank {dead[0]}" if len(references) > 1 else ""
        return WorkersLost(f"the death of its process{who}", _last_words(members[dead[0]].home))


def _placement(settings: ClusterSettings) -> Any:
    """Room for the learners, side by side where it can be; None where they claim none."""
    import ray
    from ray.util.placement_group import placement_group

    bundles = learner_bundles(settings)
    if not bundles:
        return None
    group = placement_group([dict(bundle) for bundle in bundles], strategy="PACK")
    if not group.wait(settings.start_timeout_s):
        ray.util.remove_placement_group(group)
        raise ClusterError(
            f"No room for cluster.learners={settings.learners} within "
            f"{settings.start_timeout_s:.0f} s (cluster.start_timeout_s): the cluster is busy."
        )
    return group


def _last_words(home: Home) -> str:
    """The end of a worker's log, where this machine can read it; else where it lies."""
    lines = []
    for path in (home.stdout, home.stderr):
        file = Path(path)
        if file.is_file():
            lines += _said(file)[-_LOG_LINES:]
    if not lines:
        return f" Its log, if it said anything: {home.stderr}, on node {home.node}."
    return " The last lines of its log:\n  " + "\n  ".join(lines)


def _said(file: Path) -> list[str]:
    """Lines of a log without Ray's own marks."""
    marks = (":job_id:", ":actor_name:", ":task_name:")
    lines = file.read_text(errors="replace").splitlines()
    return [line for line in lines if line and not line.startswith(marks)]


def _grouped_worker() -> type[Worker]:
    """`Worker` with its methods in Ray's concurrency groups, so that questions about a running
    job are answered while it runs."""
    import ray

    class GroupedWorker(Worker):
        run = ray.method(concurrency_group="work")(Worker.run)
        connect = ray.method(concurrency_group="work")(Worker.connect)
        progress = ray.method(concurrency_group="control")(Worker.progress)
        free_address = ray.method(concurrency_group="control")(Worker.free_address)
        home = ray.method(concurrency_group="control")(Worker.home)

    GroupedWorker.__name__ = GroupedWorker.__qualname__ = "Worker"
    return GroupedWorker
