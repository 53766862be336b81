"""Actors that do pieces of work for whoever trains: draw answers, score them.

What they are asked is a function of its arguments alone, so a piece whose actor dies is done again
by its successor, with the same result.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeVar

from farm.errors import ClusterError, FarmError

T = TypeVar("T")
R = TypeVar("R")


class Pool(Protocol):
    """Who does the pieces."""

    size: int
    """How many there are besides the one who asks."""

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """`function` of each task, in their order. What the function holds (a model's weights) is
        sent once, not with every task."""
        ...

    def stop(self) -> None:
        """Nobody will ask again."""
        ...


class Here:
    """The process that asks."""

    size = 0

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """One after the other."""
        return map(function, tasks)

    def stop(self) -> None:
        """Nobody else was there."""


class _Sent(NamedTuple):
    """A function on its way to the actors."""

    holder: list[Any]
    """The reference to its bytes; nested, so that Ray does not fetch them anew for every task."""
    digest: str
    """Their hash: several ranks may send the same function."""


class PoolWorker:
    """One actor: it keeps what the last function held."""

    def __init__(self) -> None:
        import logging

        import torch

        logging.getLogger("transformers").setLevel(logging.ERROR)
        torch.set_num_threads(1)
        self._digest = ""
        self._function: Callable[[Any], Any] | None = None

    def process_id(self) -> int:
        """The operating system's id of this process."""
        return os.getpid()

    def call(self, sent: "_Sent", task: Any) -> Any:
        """Do the function of one task."""
        import ray
        from ray import cloudpickle

        if sent.digest != self._digest or self._function is None:
            (reference,) = sent.holder
            self._function, self._digest = cloudpickle.loads(ray.get(reference)), sent.digest
        return self._function(task)


class ActorPool:
    """`PoolWorker` actors. Raises ClusterError where one gives no answer in `timeout_s`."""

    def __init__(self, actors: Sequence[Any], timeout_s: float, key: str) -> None:
        """`key` is the configuration key that errors name."""
        self.size = len(actors)
        self._actors = list(actors)
        self._timeout_s, self._key = timeout_s, key

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Whoever is free takes the next task."""
        import ray
        from ray import cloudpickle
        from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
        from ray.util import ActorPool as RayPool

        packed = cloudpickle.dumps(function)
        sent = _Sent([ray.put(packed)], hashlib.sha256(packed).hexdigest())
        pool = RayPool(self._actors)
        for task in tasks:
            pool.submit(lambda actor, value: actor.call.remote(sent, value), task)
        try:
            while pool.has_next():
                yield pool.get_next(timeout=self._timeout_s)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, FarmError) else error) from None
        except (TimeoutError, GetTimeoutError, RayActorError) as error:
            raise ClusterError(
                f"{self._key}: no answer from an actor of this pool within {self._timeout_s:.0f} s "
                f"(cluster.call_timeout_s), or it died too often (cluster.max_restarts): {error}"
            ) from None

    def stop(self) -> None:
        """Kill the actors."""
        import ray

        for actor in self._actors:
            with suppress(ray.exceptions.RayError):
                ray.kill(actor)


def start_pool(
    count: int, *, gpus: float, restarts: int, timeout_s: float, start_timeout_s: float, key: str
) -> Pool:
    """So many actors, up and answering; with 0, the one who asks does the work. Raises
    ClusterError where they do not come up."""
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError

    if not count:
        return Here()
    # No logical CPUs, for whether there are enough was asked before: pools of several runs may
    # share a cluster's cores. SPREAD, or all of them might be put on one machine.
    kind = ray.remote(
        num_cpus=0,
        num_gpus=gpus,
        max_restarts=restarts,
        max_task_retries=restarts,
        scheduling_strategy="SPREAD",
    )(PoolWorker)
    actors = [kind.remote() for _ in range(count)]
    try:
        ray.get([actor.process_id.remote() for actor in actors], timeout=start_timeout_s)
    except (GetTimeoutError, RayActorError) as error:
        for actor in actors:
            ray.kill(actor)
        raise ClusterError(
            f"{key}={count}: not all of these actors came up within {start_timeout_s:.0f} s "
            "(cluster.start_timeout_s)."
        ) from error
    return ActorPool(actors, timeout_s, key)
