"""A chat model that stops asking when its budget is spent."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

from farm.errors import ConfigError
from farm.heartbeat import note
from farm.types import Usage
from simulators.chat.endpoint import estimated_usage
from simulators.chat.ledger import Ledger, Spending, open_ledger
from simulators.chat.prices import Price
from simulators.chat.types import ChatModel, ChatRequest, Reply

SPENT = "the budget is spent"
_UNLIMITED = float("inf")


class Budget:
    """Asks while dollars, calls and tokens last; afterwards every request comes back with an error
    that says so, and a note tells the run's readers. What a cache around it answers never gets here
    and is free.

    What was spent is kept in the file `ledger` (SQLite), which all who name it share: a pool's
    members, the workers of a cluster, and a run that is started again. A request takes an estimate
    out of it before it is sent, and puts back what its bill does not need; so what is spent exceeds
    the budget by the error of that estimate at most, and a request whose bill never came counts as
    estimated. A request that fails for good counts as one call without tokens. Raises ConfigError
    where nothing is limited, or dollars are and the model has no known price.
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
        self._limits = Spending(*(_UNLIMITED if v is None else v for v in (usd, calls, tokens)))
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

    @property
    def concurrency(self) -> int:
        """The inner model's."""
        return self._inner.concurrency

    @property
    def server(self) -> str:
        """The inner model's."""
        return self._inner.server

    def unpaid(self) -> dict[str, str]:
        """What stands in this node's place in a dry run (`farm.config.unpaid`)."""
        return {"_target_": "simulators.chat.quote.Unspent"}

    async def ask(self, request: ChatRequest) -> Reply:
        """The inner model's answer, or an error when the budget does not allow it."""
        estimate = self._spending(estimated_usage(request))
        if not await self._ledger.reserve(estimate, self._limits):
            note(f"{self.model}: {SPENT} ({self._path}); the remaining pairs got no verdict.")
            return Reply(None, error=SPENT)
        reply = await self._inner.ask(request)
        if reply.usage is not None:
            await self._ledger.settle(estimate, self._spending(reply.usage))
        elif reply.error is not None:
            await self._ledger.settle(estimate, Spending(0.0, 1.0, 0.0))
        return reply

    def _spending(self, usage: Usage) -> Spending:
        usd = self._price.of(usage) if self._price else 0.0
        return Spending(usd, usage.requests, usage.prompt_tokens + usage.completion_tokens)

    @cached_property
    def _ledger(self) -> Ledger:
        return open_ledger(self._path)
