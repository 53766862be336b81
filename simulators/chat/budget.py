"""A chat model that stops asking when its budget is spent."""

import sqlite3
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from farm.errors import ConfigError
from farm.heartbeat import note
from farm.types import Usage
from simulators.chat.endpoint import estimated_usage
from simulators.chat.prices import Price
from simulators.chat.types import ChatModel, ChatRequest, Reply

SPENT = "the budget is spent"
_UNLIMITED = float("inf")


class _Spending(NamedTuple):
    usd: float
    calls: float
    tokens: float

    def plus(self, other: "_Spending", sign: int = 1) -> "_Spending":
        return _Spending(*(a + sign * b for a, b in zip(self, other, strict=True)))


class Budget:
    """Asks while dollars, calls and tokens last; afterwards every request comes back with an error
    that says so, and a note tells the run's readers. A request in flight counts with an estimate
    until its bill is known, so what is spent can exceed the budget by the estimate's error. What a
    cache around it answers never gets here and is free.

    What was spent is kept in the file `ledger` (SQLite), so that a run that is started again goes
    on with what is left. Raises ConfigError where nothing is limited, or dollars are and the model
    has no known price.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"ledger"})

    def __init__(
        self,
        *,
        model: ChatModel,
        ledger: str,
        usd: float | None = None,
        calls: int | None = None,
        tokens: int | None = None,
    ) -> None:
        self._limits = _Spending(*(_UNLIMITED if v is None else v for v in (usd, calls, tokens)))
        if min(self._limits) < 0 or min(self._limits) == _UNLIMITED:
            raise ConfigError(
                f"usd={usd}, calls={calls}, tokens={tokens}: limit at least one, to 0 or more."
            )
        self._price: Price | None = getattr(model, "price", None)
        if usd is not None and self._price is None:
            raise ConfigError(
                f"usd={usd}: the price of {model.model} is not known, so dollars cannot be "
                "limited. Give its `price`, or limit calls or tokens."
            )
        self._inner = model
        self._path = Path(ledger)
        self.model = model.model
        self.capabilities = model.capabilities
        self.server = model.server
        self.concurrency = model.concurrency
        self._in_flight = _Spending(0.0, 0.0, 0.0)

    async def ask(self, request: ChatRequest) -> Reply:
        """The inner model's answer, or an error when the budget does not allow it."""
        most = self._spending(estimated_usage(request))
        if not self._allows(most):
            note(f"{self.model}: {SPENT} ({self._path}); the remaining pairs got no verdict.")
            return Reply(None, error=SPENT)
        self._in_flight = self._in_flight.plus(most)
        try:
            reply = await self._inner.ask(request)
        finally:
            self._in_flight = self._in_flight.plus(most, -1)
        if reply.usage is not None and not reply.cached:
            self._book(self._spending(reply.usage))
        return reply

    def _allows(self, most: _Spending) -> bool:
        wanted = self._spent().plus(self._in_flight).plus(most)
        return all(value <= limit for value, limit in zip(wanted, self._limits, strict=True))

    def _spending(self, usage: Usage) -> _Spending:
        usd = self._price.of(usage) if self._price else 0.0
        return _Spending(usd, usage.requests, usage.prompt_tokens + usage.completion_tokens)

    @cached_property
    def _ledger(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        ledger = sqlite3.connect(
            self._path, timeout=60.0, isolation_level=None, check_same_thread=False
        )
        ledger.execute("pragma journal_mode=wal")
        ledger.execute("create table if not exists bills (usd real, calls real, tokens real)")
        return ledger

    def _spent(self) -> _Spending:
        sums = "select total(usd), total(calls), total(tokens) from bills"
        return _Spending(*self._ledger.execute(sums).fetchone())

    def _book(self, bill: _Spending) -> None:
        self._ledger.execute("insert into bills values (?, ?, ?)", bill)
