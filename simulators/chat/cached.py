"""A chat model that never asks the same twice."""

import asyncio
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from farm.heartbeat import note
from simulators.chat.replies import Store, open_store
from simulators.chat.types import ChatModel, ChatRequest, Reply


class Cached:
    """Answers from a file what was answered before, and records what is new as soon as it comes.

    The key is the request's content (messages and settings, hence the batch of pairs in it), its
    draw and the requested model's name: two different models under one name need two files. What
    failed is not recorded and will be asked again. Requests that were in flight when a process died
    are counted, and reported as a note of the next run: the provider may have billed them.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})

    def __init__(self, *, model: ChatModel, path: str) -> None:
        self._inner = model
        self._path = Path(path)
        self.model = model.model
        self.capabilities = model.capabilities
        self.server = model.server
        self.concurrency = model.concurrency
        self._asking: dict[str, asyncio.Future[Reply]] = {}
        self._counted = False

    @cached_property
    def _store(self) -> Store:
        return open_store(self._path)

    async def ask(self, request: ChatRequest) -> Reply:
        """The recorded answer, or a new one."""
        if not self._counted:
            self._counted = True
            await self._report_losses()
        key = request_key(self.model, request)
        if key in self._asking:  # the same request twice in one list: paid once
            return await asyncio.shield(self._asking[key])
        reply = await self._store.get(key)
        return reply if reply is not None else await self._ask_once(key, request)

    async def _ask_once(self, key: str, request: ChatRequest) -> Reply:
        self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            await self._store.begin(key)
            reply = await self._inner.ask(request)
            if reply.error is None:
                reply = await self._store.put(key, reply, model=self.model, draw=request.draw)
            else:
                await self._store.drop(key)
        except BaseException as error:
            self._asking.pop(key).cancel()
            if isinstance(error, Exception):  # refused: nothing was answered, nothing is lost
                await self._store.drop(key)
            raise
        self._asking.pop(key).set_result(reply)
        return reply

    async def _report_losses(self) -> None:
        lost = await self._store.lost()
        if lost:
            note(
                f"{lost} requests to {self.model} or others in {self._path} were in flight when an "
                "earlier process died; their answers are lost, perhaps billed, and they are asked "
                "again."
            )


def request_key(model: str, request: ChatRequest) -> str:
    """Hash of all that decides an answer."""
    messages = [[m.role, m.content] for m in request.messages]
    content = [model, messages, sorted(request.settings.items()), request.draw]
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
