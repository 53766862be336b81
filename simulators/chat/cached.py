"""A chat model that never asks the same twice."""

import asyncio
import hashlib
import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from farm.heartbeat import note
from simulators.chat.replies import Store, open_store
from simulators.chat.types import ChatModel, ChatRequest, Reply


class Cached:
    """Answers from a file what was answered before, and records what is new as soon as it comes.

    The key is the request's content (messages and settings, hence the batch of pairs in it), its
    draw, the model's name and the server's address. So runs whose seeds differ share samples,
    unless the seed is part of the request (`capabilities.seed`). What failed is not recorded and
    will be asked again. Requests that were in flight when a process died are counted, and reported
    as a note of the next run: the provider may have billed them.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})

    def __init__(self, *, model: ChatModel, path: str) -> None:
        self._inner = model
        self._path = Path(path)
        self.model = model.model
        self.capabilities = model.capabilities
        self._asking: dict[str, asyncio.Future[Reply]] = {}
        self._counted = False

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
        return {"_target_": "simulators.chat.quote.Peeked"}

    @cached_property
    def _store(self) -> Store:
        return open_store(self._path)

    async def ask(self, request: ChatRequest) -> Reply:
        """The recorded answer, or a new one."""
        if not self._counted:
            self._counted = True
            await self._report_losses()
        key = request_key(self.server, request)
        if key in self._asking:  # the same request twice in one list: paid once
            return replace(await asyncio.shield(self._asking[key]), cached=True)
        answer = self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._store.get(key) or await self._new(key, request)
        except BaseException as error:
            if isinstance(error, Exception):
                answer.set_exception(error)
                answer.exception()  # perhaps nobody else waits for it
            else:
                answer.cancel()
            raise
        finally:
            del self._asking[key]
        answer.set_result(reply)
        return reply

    async def _new(self, key: str, request: ChatRequest) -> Reply:
        await self._store.begin(key)
        try:
            reply = await self._inner.ask(request)
        except Exception:  # refused: nothing was answered, nothing is lost
            await self._store.drop(key)
            raise
        if reply.error is None:
            return await self._store.put(key, reply, model=self.model, draw=request.draw)
        await self._store.drop(key)
        return reply

    async def _report_losses(self) -> None:
        lost = await self._store.lost()
        if lost:
            note(
                f"{lost} requests to {self.model} or others in {self._path} were in flight when an "
                "earlier process died; their answers are lost, perhaps billed, and they are asked "
                "again."
            )


def request_key(server: str, request: ChatRequest) -> str:
    """Hash of all that decides an answer; `server` is address and model (`ChatModel.server`)."""
    messages = [[m.role, m.content] for m in request.messages]
    content = [server, messages, sorted(request.settings.items()), request.draw]
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
