"""Actors that do pieces of work for whoever trains: draw answers, score them, judge them.

What they are asked is a function of its arguments alone, so a piece whose actor dies is done again
by its successor, with the same result.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

from farm.data.records import chunks
from farm.errors import ClusterError, FarmError

T = TypeVar("T")
R = TypeVar("R")

_PIECE = 64
"""Rows that are done together."""


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

    def __init__(self, folder: str) -> None:
        """`folder` is the asker's, which relative paths begin from where this machine can have
        it."""
        import logging

        import torch

        work_in(folder)
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
    """`PoolWorker` actors. Raises ClusterError where one gives no answer in `timeout_s`.

    Several threads may `map` at once: all their tasks wait in one line for whoever is free.
    """

    def __init__(self, actors: Sequence[Any], timeout_s: float, key: str) -> None:
        """`key` is the configuration key that errors name."""
        self.size = len(actors)
        self._actors = list(actors)
        self._timeout_s, self._key = timeout_s, key
        self._free: SimpleQueue[Any] = SimpleQueue()
        for actor in actors:
            self._free.put(actor)
        self._threads = ThreadPoolExecutor(self.size)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has a line of its own."""
        return ActorPool, (self._actors, self._timeout_s, self._key)

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Whoever is free takes the next task; after an error none is begun."""
        import ray
        from ray import cloudpickle

        packed = cloudpickle.dumps(function)
        sent = _Sent([ray.put(packed)], hashlib.sha256(packed).hexdigest())
        yield from self._threads.map(partial(self._done, sent), tasks)

    def _done(self, sent: _Sent, task: Any) -> Any:
        """What the next free actor makes of the task."""
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

        actor = self._free.get()
        try:
            return ray.get(actor.call.remote(sent, task), timeout=self._timeout_s)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, FarmError) else error) from None
        except (GetTimeoutError, RayActorError) as error:
            raise ClusterError(
                f"{self._key}: no answer from an actor of this pool within {self._timeout_s:.0f} s "
                f"(cluster.call_timeout_s), or it died too often (cluster.max_restarts): {error}"
            ) from None
        finally:
            self._free.put(actor)

    def stop(self) -> None:
        """Kill the actors."""
        import ray

        self._threads.shutdown(wait=False, cancel_futures=True)
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
    actors = [kind.remote(os.getcwd()) for _ in range(count)]
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


def work_in(folder: str) -> None:
    """Let this process's relative paths begin from there; where it can neither be found nor made,
    they stay with Ray's own folder."""
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        os.chdir(folder)


_HERE = Here()
_helpers: ContextVar[Pool] = ContextVar("helpers", default=_HERE)


@contextmanager
def helped_by(pool: Pool) -> Iterator[None]:
    """What computes inside, in its threads and tasks too, may hand pieces of its work to `pool`."""
    token = _helpers.set(pool)
    try:
        yield
    finally:
        _helpers.reset(token)


def helpers() -> Pool:
    """Who helps what runs here."""
    return _helpers.get()


def in_pieces(function: Callable[[Sequence[T]], Sequence[R]], rows: Sequence[T]) -> list[R]:
    """What the function makes of the rows, piece by piece by the helpers. Worth it where a row
    takes more than it takes to send it, 0.1 ms or so."""
    return [one for piece in helpers().map(function, list(chunks(rows, _PIECE))) for one in piece]
