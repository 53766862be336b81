"""What a judge asks a chat model, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from farm.errors import FarmError
from farm.types import Message, Usage


class EndpointError(FarmError):
    """A provider refuses for good: a wrong key, model or request, or a spent quota."""

    exit_code = 6


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request: with `draw`, all that decides its answer. Equal requests share one answer."""

    messages: tuple[Message, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `chat.completions.create` besides the model and the messages."""
    draw: int = 0
    """Index of a repeated sample."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or why there is none."""

    text: str | None
    model: str | None = None
    """Who the provider says has answered."""
    finish_reason: str | None = None
    top_logprobs: tuple[tuple[str, float], ...] | None = None
    """Token and log-probability (nats) of the likeliest first tokens."""
    last_top_logprobs: tuple[tuple[str, float], ...] | None = None
    """The same of the last token, for verdicts that come after reasoning."""
    usage: Usage | None = None
    cost_usd: float | None = None
    """None where the price is not known."""
    latency_s: float | None = None
    cached: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model accepts; judges ask for nothing else."""

    temperature: bool = True
    """Whether a temperature other than the model's own may be asked for."""
    logprobs: bool = True
    """Whether it gives the log-probabilities of its tokens."""
    top_logprobs: int = 5
    """How many alternatives per token it gives at most."""
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What it calls the limit on new tokens."""
    json_mode: bool = True
    """Whether it can be held to answer with a JSON object."""
    seed: Literal["request", "run"] | None = None
    """Which seed is sent along, for servers whose samples it decides: one of its own for each
    request, or the judge's for all, where the server mixes in the request itself, as
    `simulators.serve` and local models do. Runs whose seeds differ then ask anew."""
    system_role: bool = True
    """Whether there is a system turn; else its text opens the first user turn."""


@runtime_checkable
class ChatModel(Protocol):
    """Who answers requests: an endpoint, a local model, or a wrapper around one."""

    model: str
    """The name that is asked for."""
    capabilities: Capabilities

    @property
    def concurrency(self) -> int:
        """Requests that may be in flight at that server at once."""
        ...

    @property
    def server(self) -> str:
        """Who it is that answers: address and model, or the weights."""
        ...

    async def ask(self, request: ChatRequest) -> Reply:
        """The answer. Transient failures that outlast all retries come back as `error`; raises
        EndpointError where asking again cannot help."""
        ...


def shared(usage: Usage | None, count: int) -> Usage | None:
    """A request's usage as the share of each of `count` judgments."""
    if usage is None:
        return None
    return Usage(
        usage.requests / count, usage.prompt_tokens / count, usage.completion_tokens / count
    )


def total_usage(usages: Sequence[Usage | None]) -> Usage | None:
    """The sum of what is known; None where nothing is."""
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    return Usage(
        sum(usage.requests for usage in known),
        sum(usage.prompt_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
    )


def total_cost(costs: Sequence[float | None]) -> float | None:
    """The sum of dollars; None where one of them is not known."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
