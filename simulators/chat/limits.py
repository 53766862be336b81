"""How fast an endpoint may be asked, by all workers of a cluster together."""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from farm.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Of one endpoint. None is no limit."""

    concurrency: int = 64
    """Requests in flight at once, of each process."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Prompt and completion, as estimated before asking."""

    def __post_init__(self) -> None:
        for key in ("concurrency", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"limits.{key}={value}: give 1 or more, or null for no limit.")

    @property
    def rates(self) -> tuple[float | None, float | None]:
        """Requests and tokens a minute."""
        return self.requests_per_minute, self.tokens_per_minute


@dataclass(frozen=True)
class Patience:
    """How long an endpoint is waited for."""

    timeout_s: float = 120.0
    """Of one attempt."""
    max_attempts: int = 8
    max_retry_s: float = 600.0
    """No attempt begins later than this after the first."""

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.timeout_s <= 0:
            raise ConfigError(
                f"patience: max_attempts={self.max_attempts}, timeout_s={self.timeout_s}: give at "
                "least one attempt and a time above 0."
            )


class Limiter(Protocol):
    """Lets requests through at a rate."""

    async def admit(self, tokens: float) -> None:
        """Wait until one request of so many tokens may be sent."""
        ...


class Unlimited:
    """Lets everything through."""

    async def admit(self, tokens: float) -> None:
        """Nothing to wait for."""


class Pace:
    """Leaky buckets for requests and tokens. Ten seconds' worth may go at once."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests = _bucket(requests_per_minute)
        self._tokens = _bucket(tokens_per_minute)

    async def admit(self, tokens: float) -> None:
        """Wait until both buckets have room."""
        for bucket, amount in ((self._requests, 1), (self._tokens, tokens)):
            if bucket is not None:  # what is larger than the bucket waits for an empty one
                await bucket.acquire(min(amount, bucket.max_rate))


def _bucket(per_minute: float | None) -> Any:
    from aiolimiter import AsyncLimiter

    return None if per_minute is None else AsyncLimiter(max(per_minute / 6, 1.0), 10.0)


class SharedPace:
    """A `Pace` in a Ray actor that all workers of the cluster find by name."""

    def __init__(self, name: str, rates: tuple[float | None, float | None]) -> None:
        import ray

        self._actor = (
            ray.remote(Pace)
            .options(name=name, namespace="limits", get_if_exists=True, num_cpus=0)
            .remote(*rates)
        )

    async def admit(self, tokens: float) -> None:
        """Wait for the actor."""
        await self._actor.admit.remote(tokens)


@cache
def limiter(endpoint: str, limits: Limits) -> Limiter:
    """The limiter of an endpoint: shared by the cluster's workers where Ray runs, else by this
    process."""
    if limits.rates == (None, None):
        return Unlimited()
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        return SharedPace(endpoint, limits.rates)
    return Pace(*limits.rates)
