"""A chat model that asks nobody and says what asking would take: for dry runs."""

from simulators.chat.endpoint import Endpoint, estimated_usage
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
