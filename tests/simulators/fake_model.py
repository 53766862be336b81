"""A chat model for tests: answers by a function, and remembers what it was asked."""

from collections.abc import Callable

from farm.types import Usage
from simulators.chat.prices import Price
from simulators.chat.types import Capabilities, ChatRequest, Reply

PRICE = Price(1.0, 2.0)
Answer = Callable[[ChatRequest], str | Reply]


class FakeModel:
    def __init__(
        self,
        answer: Answer,
        capabilities: Capabilities | None = None,
        price: Price | None = PRICE,
    ) -> None:
        self.model = "fake"
        self.server = "fake"
        self.concurrency = 8
        self.capabilities = capabilities or Capabilities(logprobs=False, seed=False)
        self.price = price
        self.asked: list[ChatRequest] = []
        self._answer = answer

    async def ask(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        answer = self._answer(request)
        if isinstance(answer, Reply):
            return answer
        usage = Usage(1.0, 100, 10)
        cost_usd = self.price.of(usage) if self.price else None
        return Reply(answer, model="fake-1", usage=usage, cost_usd=cost_usd, latency_s=0.1)
