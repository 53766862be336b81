"""How fast an endpoint may be asked, by all workers of a cluster together."""

import asyncio
import contextlib
import itertools
import sys
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from farm.errors import ConfigError
from simulators.chat.actors import SharedActor


@dataclass(frozen=True)
class Limits:
    """Of one endpoint. None is no limit."""

    concurrency: int = 64
    """Requests in flight at once, of each worker, whoever of its judges asks."""
    in_flight: int | None = None
    """Requests in flight at once, of all workers of the cluster together."""
    requests_per_minute: float | None = None
    """Of all workers together, as are the tokens."""
    tokens_per_minute: float | None = None
    """Prompt and completion, as estimated before asking."""

    def __post_init__(self) -> None:
        for key in ("concurrency", "in_flight", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"limits.{key}={value}: give 1 or more, or null for no limit.")

    @property
    def shared(self) -> tuple[int | None, float | None, float | None]:
        """What all workers share."""
        return self.in_flight, self.requests_per_minute, self.tokens_per_minute


@dataclass(frozen=True)
class Patience:
    """How long an endpoint is waited for."""

    timeout_s: float = 120.0
    """Of one attempt."""
    max_attempts: int = 8
    max_retry_s: float = 600.0
    """No attempt begins later than this after the first."""
    max_failures: int = 20
    """Requests in a row that may fail for good before nothing more is asked."""

    def __post_init__(self) -> None:
        if min(self.max_attempts, self.max_failures) < 1 or self.timeout_s <= 0:
            raise ConfigError(
                f"patience: max_attempts={self.max_attempts}, max_failures={self.max_failures}, "
                f"timeout_s={self.timeout_s}: give at least one, and a time above 0."
            )


class Limiter(Protocol):
    """Lets requests through at a rate, and so many at once."""

    async def admit(self, tokens: float) -> int:
        """Wait until one request of so many tokens may be sent; its ticket."""
        ...

    async def leave(self, ticket: int) -> None:
        """The request is over."""
        ...


class Unlimited:
    """Lets everything through."""

    async def admit(self, tokens: float) -> int:
        """Nothing to wait for."""
        return 0

    async def leave(self, ticket: int) -> None:
        """Nobody waits."""


class Pace:
    """Leaky buckets for requests and tokens, of which ten seconds' worth may go at once, and
    places for requests in flight. A place that is held for longer than `LEASE_S` is given away: a
    worker that died with it does not come back."""

    LEASE_S = 600.0

    def __init__(
        self,
        in_flight: int | None,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
    ) -> None:
        self._in_flight = in_flight
        self._requests = _bucket(requests_per_minute)
        self._tokens = _bucket(tokens_per_minute)
        self._tickets = itertools.count()
        self._held: dict[int, float] = {}
        """When each ticket was given out, in seconds."""
        self._freed = asyncio.Event()

    async def admit(self, tokens: float) -> int:
        """Wait for a place, then until both buckets have room."""
        while self._in_flight is not None and self._occupied() >= self._in_flight:
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), timeout=1.0)
        ticket = next(self._tickets)
        self._held[ticket] = time.monotonic()
        try:
            for bucket, amount in ((self._requests, 1), (self._tokens, tokens)):
                if bucket is not None:  # what is larger than the bucket waits for an empty one
                    await bucket.acquire(min(amount, bucket.max_rate))
        except BaseException:  # whoever waited was cancelled
            await self.leave(ticket)
            raise
        return ticket

    async def leave(self, ticket: int) -> None:
        """Free the place."""
        self._held.pop(ticket, None)
        self._freed.set()

    def _occupied(self) -> int:
        oldest = time.monotonic() - self.LEASE_S
        self._held = {ticket: since for ticket, since in self._held.items() if since > oldest}
        return len(self._held)


def _bucket(per_minute: float | None) -> Any:
    from aiolimiter import AsyncLimiter

    return None if per_minute is None else AsyncLimiter(max(per_minute / 6, 1.0), 10.0)


class SharedPace:
    """A `Pace` in a Ray actor that all workers of the cluster find by name."""

    def __init__(self, name: str, shared: tuple[int | None, float | None, float | None]) -> None:
        import ray

        self._actor = SharedActor(
            lambda: (
                ray.remote(Pace)
                .options(
                    name=name,
                    namespace="limits",
                    get_if_exists=True,
                    num_cpus=0,
                    max_concurrency=100_000,  # each waits in a call of its own
                )
                .remote(*shared)
            )
        )

    async def admit(self, tokens: float) -> int:
        """Wait for the actor."""
        ticket: int = await self._actor.call("admit", tokens)
        return ticket

    async def leave(self, ticket: int) -> None:
        """Tell the actor."""
        await self._actor.call("leave", ticket)


@cache
def limiter(endpoint: str, limits: Limits) -> Limiter:
    """The limiter of an endpoint: shared by the cluster's workers where Ray runs, else by this
    process."""
    if limits.shared == (None, None, None):
        return Unlimited()
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        return SharedPace(endpoint, limits.shared)
    return Pace(*limits.shared)
