"""The right to build an artefact, among the drivers of a cluster.

File locks keep the drivers of one machine apart. Where machines share no files, or a file system
whose locks cannot be relied on, one actor of the cluster says who builds: a driver holds a lease
and renews it while it lives. One that lost its lease publishes nothing.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from farm.errors import ClusterError, StoreError
from farm.processes import ProcessId
from farm.ray_session import head_node

LEASE_S = 30.0
"""As long may a driver be silent; one that died is noticed at once by others on its machine."""
_RENEW_S = 5.0
_POLL_S = 0.3
_ANSWER_S = 60.0
"""The actor may have to be started first."""


class Holder(NamedTuple):
    """A driver that builds something."""

    node: str
    """Ray's id of its machine."""
    process: ProcessId
    token: str
    """One process may have several leases."""

    @property
    def died_here(self) -> bool:
        """Whether it was a process of this machine, and is no more."""
        import ray

        here: str = ray.get_runtime_context().get_node_id()
        return self.node == here and not self.process.alive


class Leases:
    """Who holds what, and until when."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Holder, float]] = {}

    def take(self, name: str, holder: Holder) -> Holder:
        """Hold it for another `LEASE_S`, unless somebody else does; who has it now."""
        now = time.monotonic()
        other, until = self._held.get(name, (holder, now))
        if other != holder and now < until:
            return other
        self._held[name] = holder, now + LEASE_S
        return holder

    def end(self, name: str, holder: Holder) -> None:
        """It is the holder's no more."""
        if name in self._held and self._held[name][0] == holder:
            del self._held[name]


class Lease:
    """One that this process holds."""

    def __init__(self, actor: Any, name: str, holder: Holder) -> None:
        self.holder = holder
        self.lost = threading.Event()
        """Set when another driver has it."""
        self._actor, self._name = actor, name
        self._ended = threading.Event()
        threading.Thread(target=self._renew, daemon=True).start()

    def check(self) -> None:
        """Raise StoreError when it is lost."""
        if self.lost.is_set():
            raise StoreError(
                f"Another run has begun to build {self._name}, since this one was silent for "
                f"{LEASE_S:.0f} s. The same command goes on from what that one publishes."
            )

    def end(self) -> None:
        """Give it back."""
        import ray

        self._ended.set()
        with suppress(ray.exceptions.RayError):  # a cluster that is gone has no leases either
            ray.get(self._actor.end.remote(self._name, self.holder), timeout=_RENEW_S)

    def _renew(self) -> None:
        import ray

        while not self._ended.wait(_RENEW_S):
            with suppress(ray.exceptions.RayError):
                found = ray.get(self._actor.take.remote(self._name, self.holder), timeout=LEASE_S)
                if found != self.holder:
                    self.lost.set()


@contextmanager
def leased(name: str, on_wait: Callable[[], None]) -> Iterator[Lease]:
    """The lease of that name on the cluster that Ray is connected to; `on_wait` is called once when
    another driver holds it, then this blocks until that one has published or is dead. Raises
    ClusterError where nobody says who holds it."""
    import ray

    actor = _leases()
    node = ray.get_runtime_context().get_node_id()
    me = Holder(node, ProcessId.own(), secrets.token_hex(8))
    waited = False
    while (other := _answer(actor.take.remote(name, me))) != me:
        if other.died_here:
            _answer(actor.end.remote(name, other))
            continue
        if not waited:
            on_wait()
        waited = True
        time.sleep(_POLL_S)
    lease = Lease(actor, name, me)
    try:
        yield lease
    finally:
        lease.end()


def _answer(reference: Any) -> Any:
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError

    try:
        return ray.get(reference, timeout=_ANSWER_S)
    except (GetTimeoutError, RayActorError) as error:
        raise ClusterError(
            f"the cluster's actor `leases` (namespace farm), which says who builds what, gave no "
            f"answer within {_ANSWER_S:.0f} s: {error} Is its first machine still there?"
        ) from None


def _leases() -> Any:
    """The cluster's own: it outlives the driver that made it. What it forgets when its process is
    started again, the holders tell it anew."""
    import ray

    return (
        ray.remote(Leases)
        .options(
            name="leases",
            namespace="farm",
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=head_node(),
        )
        .remote()
    )
