"""What stands in the place of chat models in a dry run: nobody is asked, nothing is written."""

from simulators.chat.budget import Budget
from simulators.chat.cached import Cached, request_key
from simulators.chat.endpoint import Endpoint, estimated_usage
from simulators.chat.local import LocalModel
from simulators.chat.types import ChatRequest, Reply

NOT_ASKED = "not asked: a dry run"


class Quote(Endpoint):
    """Has an endpoint's settings and answers each request with an error, an estimate of its tokens
    (the prompt, and as many new ones as are allowed) and what they would cost."""

    async def ask(self, request: ChatRequest) -> Reply:
        """The estimate."""
        usage = estimated_usage(request)
        cost_usd = self.price.of(usage) if self.price else None
        return Reply(None, usage=usage, cost_usd=cost_usd, error=NOT_ASKED)

    def check_key(self) -> None:
        """None is needed."""


class Idle(LocalModel):
    """A local model that is not loaded."""

    async def ask(self, request: ChatRequest) -> Reply:
        """The estimate; free."""
        return Reply(None, usage=estimated_usage(request), cost_usd=0.0, error=NOT_ASKED)


class Peeked(Cached):
    """A cache that is looked into and not written to."""

    async def ask(self, request: ChatRequest) -> Reply:
        """What is recorded, or the inner model's."""
        found = None
        if self._path.exists():
            found = await self._store.get(request_key(self.server, request))
        return found or await self._inner.ask(request)


class Unspent(Budget):
    """A budget that nothing is taken from."""

    async def ask(self, request: ChatRequest) -> Reply:
        """The inner model's."""
        return await self._inner.ask(request)
