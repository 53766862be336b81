"""Chat models behind an OpenAI-compatible endpoint: OpenAI, vLLM, llama.cpp, Ollama and others."""

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from farm.errors import ConfigError
from farm.types import Usage
from simulators.chat.limits import Limits, Patience, limiter
from simulators.chat.prices import Price, price_table
from simulators.chat.types import Capabilities, ChatRequest, EndpointError, Reply

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")

CHARACTERS_PER_TOKEN = 4
"""For estimates before asking; English text, roughly."""
_SHOWN = 80


class NoCompletion(Exception):
    """A server answered with something else than a chat completion."""


class Endpoint:
    """Asks over HTTP. Transient failures (429, 5xx, timeouts, lost connections) are retried with
    exponential backoff and jitter, or after what `retry-after` says, until `patience` ends: for
    one request, or, where many in a row failed, for all. A refusal (wrong key, model or request,
    spent quota) raises EndpointError with the provider's message.

    Args:
        model: the name that is asked for; a pinned snapshot where the provider has them.
        base_url: of the API, ending in /v1 for most servers.
        api_key_env: the environment variable that holds the key; null for servers without one.
        capabilities: what the model accepts.
        limits: how fast it may be asked.
        price: dollars per million tokens; null takes the model's entry in the price table, and
            where it has none the price is not known.
        patience: how long one attempt may take, and how many there are.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset(
        {"api_key_env", "limits", "price", "patience"}
    )

    def __init__(
        self,
        *,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str | None = "OPENAI_API_KEY",
        capabilities: Capabilities | None = None,
        limits: Limits | None = None,
        price: Price | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.model = model
        self.capabilities = record(Capabilities, capabilities)
        self.limits: Limits = record(Limits, limits)
        self.server = f"{base_url} {model}"
        self.concurrency = self.limits.concurrency
        self.price = price_table().get(model) if price is None else record(Price, price)
        self._base_url = base_url
        self._api_key_env = api_key_env
        self._patience: Patience = record(Patience, patience)
        self._failures = 0

    async def ask(self, request: ChatRequest) -> Reply:
        """The answer of this model."""
        from openai import APIError

        try:
            reply = await self._patiently(self._attempt, request)
        except (APIError, NoCompletion) as error:
            return self._given_up(error)
        self._failures = 0
        return reply

    async def _patiently(
        self, attempt: Callable[..., Awaitable[Result]], *arguments: Any, **keywords: Any
    ) -> Result:
        """What the attempt returns; it is repeated while failures are transient and patience
        lasts. Raises the last one's APIError or NoCompletion."""
        from tenacity import (
            AsyncRetrying,
            retry_if_exception,
            stop_after_attempt,
            stop_before_delay,
        )

        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_after_attempt(self._patience.max_attempts)
            | stop_before_delay(self._patience.max_retry_s),
            wait=_wait_s,
            reraise=True,
        )
        return await retrying(attempt, *arguments, **keywords)

    def _given_up(self, error: Exception) -> Reply:
        """The reply where a transient failure outlasted all retries. Raises EndpointError for what
        is a refusal, or where nobody has answered for a while."""
        message = self._redacted(f"{type(error).__name__}: {error}")
        if _is_transient(error):
            self._failures += 1
            if self._failures >= self._patience.max_failures:
                raise EndpointError(
                    f"{self.model} at {self._base_url}: {self._failures} requests in a row failed "
                    f"for good, the last with {message} Nothing more is asked; what was answered "
                    "is kept, and the same command goes on from there."
                ) from None
            return Reply(None, error=f"gave up after retries: {message}")
        raise EndpointError(
            f"{self.model} at {self._base_url} refuses: {message}{_hint(error)}"
        ) from None

    def unpaid(self) -> dict[str, str]:
        """What stands in this node's place in a dry run (`farm.config.unpaid`)."""
        return {"_target_": "simulators.chat.quote.Quote"}

    async def _attempt(self, request: ChatRequest) -> Reply:
        import httpx2

        pace = limiter(self.server, self.limits)
        expected = estimated_usage(request)
        ticket = await pace.admit(expected.prompt_tokens + expected.completion_tokens)
        started = time.monotonic()
        try:
            # `chat.completions.create` spends a third of its time on typing what is plain here.
            response = await self._client.post(
                "/chat/completions", cast_to=httpx2.Response, body=self._body(request)
            )
            completion = response.json()
        except ValueError as error:  # status 200 with a body that is no JSON
            raise NoCompletion(f"the answer is no chat completion: {error}") from None
        finally:
            await pace.leave(ticket)
        return self._reply(completion, time.monotonic() - started)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        return {"model": self.model, "messages": messages, **request.settings}

    def _reply(self, completion: Any, latency_s: float | None) -> Reply:
        """Raises NoCompletion for what has another form than a chat completion's: a page of a web
        server, an error with status 200."""
        try:
            return self._parsed(completion, latency_s)
        except (AttributeError, LookupError, TypeError):
            shown = repr(completion)[:_SHOWN]
            raise NoCompletion(f"the answer is no chat completion: {shown}") from None

    def _parsed(self, completion: Any, latency_s: float | None) -> Reply:
        choice = completion["choices"][0]
        billed = completion.get("usage")
        usage = billed and Usage(
            1.0, billed.get("prompt_tokens") or 0, billed.get("completion_tokens") or 0
        )
        return Reply(
            text=_text(choice["message"]),
            model=completion.get("model"),
            finish_reason=choice.get("finish_reason"),
            top_logprobs=_top_logprobs(choice, 0),
            last_top_logprobs=_top_logprobs(choice, -1),
            usage=usage,
            cost_usd=self.price.of(usage) if self.price and usage else None,
            latency_s=latency_s,
        )

    @cached_property
    def _client(self) -> Any:
        """The client; one for the life of this object, always used in the same event loop."""
        import httpx2
        from openai import AsyncOpenAI

        connections = httpx2.Limits(
            max_connections=self.concurrency, max_keepalive_connections=self.concurrency
        )
        return AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._base_url,
            max_retries=0,  # retries are ours
            timeout=self._patience.timeout_s,
            http_client=httpx2.AsyncClient(limits=connections, timeout=self._patience.timeout_s),
        )

    @property
    def _key(self) -> str | None:
        if self._api_key_env is None:
            return None
        self.check_key()
        return os.environ[self._api_key_env]

    def check_key(self) -> None:
        """Raise ConfigError where the environment holds no key."""
        if self._api_key_env is not None and not os.environ.get(self._api_key_env):
            raise ConfigError(
                f"{self.model} at {self._base_url}: the environment variable {self._api_key_env} "
                "(api_key_env) holds no key. Set it, or set api_key_env to null where the server "
                "wants none."
            )
        if self._api_key_env is not None and not re.fullmatch(
            r"[!-~]+", os.environ[self._api_key_env]
        ):
            raise ConfigError(
                f"{self.model} at {self._base_url}: the key in {self._api_key_env} (api_key_env) "
                "has a space, a line's end or another character that no key has. Set it anew."
            )

    def _redacted(self, text: str) -> str:
        key = os.environ.get(self._api_key_env) if self._api_key_env else None
        return text.replace(key, "[key]") if key else text


def estimated_usage(request: ChatRequest) -> Usage:
    """Tokens of the prompt, about, and of the longest answer that is allowed."""
    characters = sum(len(message.content) for message in request.messages)
    longest = request.settings.get("max_tokens", request.settings.get("max_completion_tokens", 0))
    return Usage(1.0, characters / CHARACTERS_PER_TOKEN, longest)


def record(kind: Any, values: Any) -> Any:
    """A settings record from what a yaml gives, nothing or a mapping."""
    if values is None:
        return kind()
    return kind(**values) if isinstance(values, Mapping) else values


def _is_transient(error: BaseException) -> bool:
    from openai import APIConnectionError, APIStatusError, RateLimitError

    if isinstance(error, RateLimitError):
        return error.code != "insufficient_quota"
    if isinstance(error, APIStatusError):
        return error.status_code in (408, 409) or error.status_code >= 500
    return isinstance(error, APIConnectionError | NoCompletion)


def _wait_s(state: "RetryCallState") -> float:
    from tenacity import wait_exponential_jitter, wait_random

    error = state.outcome.exception() if state.outcome else None
    response = getattr(error, "response", None)
    asked = response.headers.get("retry-after") if response is not None else None
    if asked is not None and asked.replace(".", "", 1).isdigit():
        return float(asked) + float(wait_random(0.0, 0.1)(state))
    return float(wait_exponential_jitter(initial=0.5, max=30.0, jitter=0.5)(state))


def _hint(error: Exception) -> str:
    hints = {
        400: " Perhaps the model does not accept what `capabilities` says it does.",
        401: " The key is wrong (api_key_env).",
        403: " The key may not use this model.",
        404: " Is the model's name right, and base_url?",
    }
    return hints.get(getattr(error, "status_code", 0), "")


def _text(message: Mapping[str, Any]) -> str | None:
    """What was said; of a message that calls a function instead, the call's arguments."""
    text: str | None = message.get("content")
    if text is not None:
        return text
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    called = calls[0] if calls else message.get("function_call")
    return None if called is None else str(called["arguments"])


def _top_logprobs(choice: Mapping[str, Any], place: int) -> tuple[tuple[str, float], ...] | None:
    content = (choice.get("logprobs") or {}).get("content")
    if not content:
        return None
    top = content[place].get("top_logprobs") or ()
    return tuple((one["token"], one["logprob"]) for one in top)
