"""The endpoint: models, chat completions, and counts of what was asked."""

import asyncio
import hashlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from farm.errors import ConfigError
from farm.protocols import Annotator
from simulators.serving.answering import (
    Answer,
    Question,
    Refusal,
    answer,
    completion,
    models_of,
    read_question,
)
from simulators.serving.faults import Fate
from simulators.serving.settings import ServeSettings

_GARBAGE = Answer("The weather is fine, and so are forty-two of the spoons.")


def make_app(config: Mapping[str, Any]) -> Starlette:
    """The endpoint of a checked configuration. Raises ConfigError."""
    settings = ServeSettings.from_plain(config)
    service = _Service(models_of(config["annotators"]), settings)
    return Starlette(
        routes=[
            Route("/v1/models", service.models),
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
            Route("/stats", service.stats),
        ],
        exception_handlers={Refusal: service.refuse},
    )


class _Service:
    """Answers requests, or lets them meet their fate."""

    def __init__(self, models: Mapping[str, Annotator], settings: ServeSettings) -> None:
        self._models = models
        self._seed = settings.seed
        self._faults = settings.faults
        self._fate = Fate(settings.faults, settings.seed)
        self._key = _key(settings.api_key_env)
        self._outcomes: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        """How often each body was answered, with sense or without: what a client pays for."""

    async def models(self, request: Request) -> Response:
        """The list of models."""
        self._admit(request)
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulators"}
            for name in self._models
        ]
        return JSONResponse({"object": "list", "data": rows})

    async def stats(self, request: Request) -> Response:
        """Attempts by what became of them, and bodies that were answered more than once."""
        again = sum(count > 1 for count in self._answered.values())
        return JSONResponse({**self._outcomes, "bodies_answered_again": again})

    async def chat(self, request: Request) -> Response:
        """A completion, or a fault."""
        self._admit(request)
        body = await request.body()
        outcome = self._fate.decide(body)
        await asyncio.sleep(self._faults.latency_s)
        match outcome:
            case "429":
                response = self._slow_down()
            case "500":
                response = _error(500, "The server had an error (a fault on demand).", "500")
            case "hung":
                response = _BrokenOff(self._faults.hang_s)
            case "reset":
                response = _BrokenOff(0.0)
            case "answered" | "garbage":
                response = await self._complete(body, garbage=outcome == "garbage")
        self._outcomes[outcome] += 1
        return response
