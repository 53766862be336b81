"""What goes wrong at an endpoint, on demand and repeatably."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

from farm.errors import ConfigError
from farm.seeds import uniform

Outcome = Literal["answered", "429", "500", "hung", "reset", "garbage"]
_BURST_S = 15.0
"""Seconds' worth of requests that may come at once: more than a client sends that keeps to the
rate (`simulators.chat.limits`)."""


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong. Rates are shares of attempts, `rate_garbage` of requests."""

    latency_s: float = 0.0
    """Every answer waits for so long."""
    rate_429: float = 0.0
    retry_after_s: float | None = None
    """What a 429 names in its header; None is no header."""
    rate_500: float = 0.0
    rate_timeout: float = 0.0
    hang_s: float = 600.0
    """How long an attempt that times out is held before its connection is closed."""
    rate_reset: float = 0.0
    rate_garbage: float = 0.0
    requests_per_minute: float | None = None
    """None is no limit."""

    def __post_init__(self) -> None:
        for key in (field.name for field in fields(self)):
            value = getattr(self, key)
            if value is not None and value < 0:
                raise ConfigError(f"faults.{key}={value:g}: give a number that is 0 or more.")
        total = self.rate_429 + self.rate_500 + self.rate_timeout + self.rate_reset
        if total > 1 or self.rate_garbage > 1:
            raise ConfigError(
                f"faults: rate_429, rate_500, rate_timeout and rate_reset add up to {total:g} and "
                f"rate_garbage is {self.rate_garbage:g}; shares are at most 1."
            )
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise ConfigError("faults.requests_per_minute: give 1 or more, or null for no limit.")


class Fate:
    """Decides what becomes of each attempt: a function of the seed, the request's body and how
    often that body has come, so that retries toss new coins and runs repeat themselves."""

    def __init__(
        self, faults: Faults, seed: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._faults = faults
        self._seed = seed
        self._attempts: Counter[str] = Counter()
        self._bucket = _bucket(faults.requests_per_minute, clock)

    def decide(self, body: bytes) -> Outcome:
        """What becomes of the next attempt of this body."""
        if self._bucket is not None and not self._bucket.take():
            return "429"
        request = hashlib.sha256(body).hexdigest()[:16]
        self._attempts[request] += 1
        coin = uniform(self._seed, "fault", request, self._attempts[request])
        for outcome, rate in self._transient():
            if coin < rate:
                return outcome
            coin -= rate
        garbage = uniform(self._seed, "garbage", request) < self._faults.rate_garbage
        return "garbage" if garbage else "answered"

    def _transient(self) -> tuple[tuple[Outcome, float], ...]:
        faults = self._faults
        return (
            ("429", faults.rate_429),
            ("500", faults.rate_500),
            ("hung", faults.rate_timeout),
            ("reset", faults.rate_reset),
        )


class TokenBucket:
    """`capacity` tokens at first, refilled at `per_s` tokens a second."""

    def __init__(self, capacity: float, per_s: float, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._per_s = per_s
        self._clock = clock
        self._tokens = capacity
        self._filled_at = clock()

    def take(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock()
        gained = (now - self._filled_at) * self._per_s
        self._tokens = min(self._capacity, self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _bucket(per_minute: float | None, clock: Callable[[], float]) -> TokenBucket | None:
    if per_minute is None:
        return None
    return TokenBucket(max(per_minute / 60 * _BURST_S, 1.0), per_minute / 60, clock)
