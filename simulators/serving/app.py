"""The endpoint: models, chat completions, and counts of what was asked."""

import asyncio
import hashlib
import math
import os
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, get_args

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from farm.errors import ConfigError
from simulators.serving.answering import (
    Answer,
    Mind,
    Question,
    Refusal,
    answer,
    models_of,
    read_question,
)
from simulators.serving.batches import Batches, Handler
from simulators.serving.faults import Fate, Outcome
from simulators.serving.settings import ServeSettings

_GARBAGE = Answer("The weather is fine, and so are forty-two of the spoons.")
_KINDS = {429: "rate_limit_error", 500: "server_error"}
"""What OpenAI calls the type of an error, by status; all others are the request's."""


def make_app(config: Mapping[str, Any]) -> Starlette:
    """The endpoint of a checked configuration. Raises ConfigError."""
    settings = ServeSettings.from_plain(config)
    service = _Service(models_of(config["annotators"], config["assessors"]), settings)
    batches = [
        Route(route.path, service.guarded(route.endpoint), methods=route.methods)
        for route in service.batches.routes()
    ]
    return Starlette(
        routes=[
            Route("/v1/models", service.models),
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
            Route("/stats", service.stats),
            *batches,
        ],
    )


class _Service:
    """Answers requests, or lets them meet their fate."""

    def __init__(self, models: Mapping[str, Mind], settings: ServeSettings) -> None:
        self._models = models
        self._seed = settings.seed
        self._faults = settings.faults
        self._fate = Fate(settings.faults, settings.seed)
        self._key = _key(settings.api_key_env)
        self._outcomes: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self.batches = Batches(models, self._complete, settings.batch_s)

    async def models(self, request: Request) -> Response:
        """The list of models."""
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulators"}
            for name in self._models
        ]
        return self._refusal(request) or JSONResponse({"object": "list", "data": rows})

    async def stats(self, request: Request) -> Response:
        """How many attempts met which end, how many batches were made, and how many bodies were
        answered (and would have been paid for) more than once."""
        again = sum(count > 1 for count in self._answered.values())
        counts = {kind: self._outcomes[kind] for kind in (*get_args(Outcome), "refused")}
        counts |= {"batches": self.batches.count, "bodies_answered_again": again}
        return JSONResponse(counts)

    async def chat(self, request: Request) -> Response:
        """A completion, a refusal or a fault."""
        body = await request.body()
        return await self._meet_fate(request, body, partial(self._complete, body))

    def guarded(self, handler: Handler) -> Handler:
        """A handler that refuses wrong keys and meets faults as `chat` does."""

        async def guarded(request: Request) -> Response:
            async def respond(_: Outcome) -> Response:
                try:
                    return await handler(request)
                except Refusal as refusal:
                    return _error(refusal.status, str(refusal), refusal.code)

            return await self._meet_fate(request, request.url.path.encode(), respond)

        return guarded

    async def _meet_fate(
        self, request: Request, identity: bytes, respond: Callable[[Outcome], Awaitable[Response]]
    ) -> Response:
        await asyncio.sleep(self._faults.latency_s)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        outcome = self._fate.decide(identity)
        if outcome in ("answered", "garbage"):
            return await respond(outcome)
        self._outcomes[outcome] += 1
        return self._fault(outcome)

    async def _complete(self, body: bytes, outcome: Outcome = "answered") -> Response:
        try:
            question = read_question(body)
            # In a thread, since an annotator may itself wait for a chat model.
            said = await run_in_threadpool(answer, question, self._models, self._seed)
        except Refusal as refusal:
            self._outcomes["refused"] += 1
            return _error(refusal.status, str(refusal), refusal.code)
        self._outcomes[outcome] += 1
        identity = hashlib.sha256(body).hexdigest()[:24]
        self._answered[identity] += 1
        if outcome == "garbage":
            said = _GARBAGE
        return JSONResponse(_completion(said, question, identity, int(time.time())))

    def _fault(self, outcome: Outcome) -> Response:
        if outcome == "429":
            wait_s = self._faults.retry_after_s
            headers = {} if wait_s is None else {"retry-after": f"{wait_s:g}"}
            return _error(429, "Too many requests.", "rate_limit_exceeded", headers)
        if outcome == "500":
            return _error(500, "The server had an error: a fault on demand.", "server_error")
        return _BrokenOff(self._faults.hang_s if outcome == "hung" else 0.0)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request with the wrong key; it quotes the key, as OpenAI's does."""
        if self._key is None:
            return None
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if secrets.compare_digest(sent.encode(), self._key.encode()):
            return None
        self._outcomes["refused"] += 1
        return _error(401, f"Incorrect API key provided: {sent}.", "invalid_api_key")


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(
            f"api_key_env={variable}: that environment variable holds no key. Set it, or set "
            "api_key_env to null to ask for none."
        )
    return key


def _completion(answer: Answer, question: Question, identity: str, created: int) -> dict[str, Any]:
    """The answer in OpenAI's form; a token is four characters."""
    prompt = sum(len(message.content) for message in question.messages) // 4
    said = len(answer.content) // 4
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.content, "refusal": None},
        "logprobs": _logprobs(answer, question.top_logprobs),
        "finish_reason": "stop",
    }
    return {
        "id": f"chatcmpl-{identity}",
        "object": "chat.completion",
        "created": created,
        "model": question.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": said,
            "total_tokens": prompt + said,
        },
    }


def _logprobs(answer: Answer, top: int | None) -> dict[str, Any] | None:
    """Log-probabilities (nats) of the labels, likeliest first; impossible ones are left out."""
    if top is None or not answer.shares:
        return None
    ranked = sorted(answer.shares, key=lambda share: share[1], reverse=True)
    tokens = [
        {"token": label, "logprob": math.log(share), "bytes": list(label.encode())}
        for label, share in ranked
        if share > 0
    ]
    return {"content": [{**tokens[0], "top_logprobs": tokens[:top]}], "refusal": None}


def _error(
    status: int, message: str, code: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error in OpenAI's form."""
    error = {
        "message": message,
        "type": _KINDS.get(status, "invalid_request_error"),
        "param": None,
        "code": code,
    }
    return JSONResponse({"error": error}, status, headers)


class _BrokenOff(Response):
    """No answer: after a while, or once the client has left, the connection is closed."""

    def __init__(self, after_s: float) -> None:
        super().__init__()
        self._after_s = after_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise a body and send none: all that ASGI has to make a server close a connection."""
        try:
            async with asyncio.timeout(self._after_s):
                while (await receive())["type"] != "http.disconnect":
                    pass
        except (TimeoutError, asyncio.CancelledError):  # the latter when the server ends
            headers = [(b"content-length", b"1")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
