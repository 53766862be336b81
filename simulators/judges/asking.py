"""What all judges share: sampling settings, requests, and a stop when too many answers fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from farm.data.records import tie
from farm.errors import DataError
from farm.heartbeat import beat
from farm.seeds import derive
from farm.types import Judgment, Message, Pair
from simulators.chat.types import (
    ChatModel,
    ChatRequest,
    Reply,
    shared,
    total_cost,
    total_usage,
)
from simulators.judges.template import load_template

_FEWEST = 100
"""Up to so many requests, the tolerated number of unparsed answers is that of so many: one garbled
answer to a pool's member with few pairs stops nothing."""
_EXAMPLES = 3


class TooManyUnparsed(DataError):
    """More answers than `max_unparsed` allows are no verdicts."""


@dataclass(frozen=True)
class Sampling:
    """How a judge's answers are drawn."""

    max_tokens: int
    temperature: float | None = None
    """None is the model's own."""
    reasoning_effort: str | None = None
    """How much a reasoning model may think first; None is the model's own, and right for others."""


def sampling_of(values: Sampling | Mapping[str, Any]) -> Sampling:
    """The record of what a yaml gives as a mapping."""
    return Sampling(**values) if isinstance(values, Mapping) else values


def request(
    model: ChatModel,
    messages: tuple[Message, ...],
    sampling: Sampling,
    parser_settings: Mapping[str, Any],
    *,
    seed: int,
    draw: int,
) -> ChatRequest:
    """A request with what the model's capabilities allow of what is wanted."""
    turns = _turns(messages, model.capabilities.system_role)
    can = model.capabilities
    settings: dict[str, Any] = {can.token_parameter: sampling.max_tokens, **parser_settings}
    if can.temperature and sampling.temperature is not None:
        settings["temperature"] = sampling.temperature
    if sampling.reasoning_effort is not None:
        settings["reasoning_effort"] = sampling.reasoning_effort
    if can.seed == "run":
        settings["seed"] = seed
    if can.seed == "request":  # one for all would give all pairs the same luck
        contents = (turn.content for turn in turns)
        settings["seed"] = derive(seed, "request", *contents) % 2**31
    return ChatRequest(turns, settings, draw)


def _turns(messages: tuple[Message, ...], system_role: bool) -> tuple[Message, ...]:
    if system_role or messages[0].role != "system":
        return messages
    system, first, *rest = messages
    return (Message("user", f"{system.content}\n\n{first.content}"), *rest)


def bill(model: ChatModel, replies: Sequence[Reply], count: int) -> dict[str, Any]:
    """The fields of a judgment that say who answered and what it took: its share, as one of
    `count`, of the replies it came out of."""
    cost_usd = total_cost([_cost(reply) for reply in replies])
    latencies = [reply.latency_s for reply in replies if reply.latency_s is not None]
    return {
        "raw": "\n\n".join(reply.text for reply in replies if reply.text is not None) or None,
        "requested_model": model.model,
        "model": replies[0].model,
        "usage": shared(total_usage([reply.usage for reply in replies]), count),
        "cost_usd": None if cost_usd is None else cost_usd / count,
        "cached": all(reply.cached for reply in replies),
        "latency_s": max(latencies, default=None),
    }


def _cost(reply: Reply) -> float | None:
    """What an answer is priced at; one that did not come has no bill."""
    unbilled = reply.error is not None and reply.usage is None
    return 0.0 if unbilled else reply.cost_usd


def in_order(
    pairs: Sequence[Pair], judgments: Mapping[int, Judgment], judge: str
) -> list[Judgment]:
    """A judgment for each pair: ties on identical texts, which nobody was asked about."""
    return [
        tie(pair, judge) if pair.output_a == pair.output_b else judgments[index]
        for index, pair in enumerate(pairs)
    ]


class Tally:
    """Counts a judge's answers; raises TooManyUnparsed, with examples, once more than the share
    `max_unparsed` of `total` requests got an answer that is not a verdict on every pair. Failures
    to answer at all are not counted."""

    def __init__(self, judge: str, max_unparsed: float, total: int) -> None:
        self._judge = judge
        self._max_unparsed = max_unparsed
        self._total = total
        self._unread: list[str] = []

    def count(self, replies: Sequence[Reply], failed: int, pairs: int) -> None:
        """Count the replies to one request on `pairs` pairs, `failed` of which got no verdict."""
        if failed and any(reply.error is None for reply in replies):
            self._unread.append(repr((replies[-1].text or "")[:200]))
        paid = [r.cost_usd for r in replies if r.cost_usd is not None and not r.cached]
        beat(pairs, {"cost_usd": sum(paid)} if paid else {})
        if len(self._unread) > self._max_unparsed * max(self._total, _FEWEST):
            examples = ", ".join(dict.fromkeys(self._unread[:_EXAMPLES]))
            raise TooManyUnparsed(
                f"{self._judge}: {len(self._unread)} of {self._total} answers cannot be read, more "
                f"than max_unparsed={self._max_unparsed:g} allows. Examples: {examples}. A prompt "
                "and a parser that fit the model, or a larger max_tokens, help. What was answered "
                "is kept in the cache, where there is one, and is read again next time, unless "
                "`python -m simulators.cache prune` deletes it."
            )


class Prompted:
    """What judges with a prompt of their own form share.

    Args:
        name: who it is, in judgments and tables.
        prompt: a prompt that comes with the package, by name, or the path of a prompt file.
        sampling: how answers are drawn.
        model: who answers.
        max_unparsed: share of answers that may be unreadable; more raise TooManyUnparsed.

    Raises ConfigError for a prompt that cannot be read.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"max_unparsed"})

    def __init__(
        self,
        *,
        name: str,
        prompt: str,
        sampling: Sampling,
        model: ChatModel,
        max_unparsed: float = 0.05,
    ) -> None:
        self._name = name
        self._sampling = sampling_of(sampling)
        self._model = model
        self._max_unparsed = max_unparsed
        self._template = load_template(prompt, {})

    def resolved(self) -> dict[str, str]:
        """The hash of the prompt's text."""
        return {"prompt": self._template.hash}
