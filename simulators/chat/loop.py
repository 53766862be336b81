"""From blocking code to asynchronous requests and back: one event loop a process, in a thread of
its own, so that clients and their connections outlive a call."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from simulators.chat.types import ChatModel, ChatRequest, Reply

Item = TypeVar("Item")
Result = TypeVar("Result")
OnReply = Callable[[int, Reply], None]


class _Group:
    """Calls of `run` that end together: when one fails, the others have nothing to go on for."""

    def __init__(self, outer: "_Group | None") -> None:
        self._outer = outer
        self._running: set[Future[Any]] = set()
        self._stopped = False

    def add(self, future: "Future[Any]") -> None:
        """Count a call in, here and in the groups around."""
        self._running.add(future)
        if self._outer is not None:
            self._outer.add(future)
        if self._stopped:
            future.cancel()

    def stop(self) -> None:
        """Cancel what runs and what is still to come."""
        self._stopped = True
        for future in list(self._running):
            future.cancel()


_group: ContextVar[_Group | None] = ContextVar("group", default=None)
_starting = threading.Lock()


@cache
def _start() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="chat", daemon=True).start()
    return loop


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:  # `cache` alone lets several threads start one each
        return _start()


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The coroutine's result; an interrupt of the waiting thread cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    if group := _group.get():
        group.add(future)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def ask_all(
    model: ChatModel, requests: Iterable[ChatRequest], count: int, on_reply: OnReply
) -> None:
    """Ask all `count` requests, each made when its turn comes, at most `model.concurrency` at a
    time at one server; `on_reply(index, reply)` hears of each answer as it comes. What it or the
    model raises ends the asking: nothing more is sent."""
    run(_ask_all(model, requests, count, on_reply))


@cache
def _places(server: str, concurrency: int) -> asyncio.Semaphore:
    """The places at a server for all who ask it in this process, such as a pool's judges."""
    return asyncio.Semaphore(concurrency)


async def _ask_all(
    model: ChatModel, requests: Iterable[ChatRequest], count: int, on_reply: OnReply
) -> None:
    waiting = iter(enumerate(requests))  # shared: each worker takes what comes next
    places = _places(model.server, model.concurrency)

    async def work() -> None:
        for index, request in waiting:
            async with places:
                reply = await model.ask(request)
            on_reply(index, reply)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(model.concurrency, count)):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The function's result for each item, computed in threads at the same time. The first failure,
    or an interrupt, is raised once the others' requests are cancelled."""
    if len(items) < 2:
        return [function(item) for item in items]
    group = _Group(_group.get())
    token = _group.set(group)
    try:
        with ThreadPoolExecutor(len(items)) as threads:
            waiting = [
                threads.submit(contextvars.copy_context().run, function, item) for item in items
            ]
            try:
                ended, _ = wait(waiting, return_when=FIRST_EXCEPTION)
                failed = [error for one in ended if (error := one.exception()) is not None]
                if failed:
                    raise failed[0]
            except BaseException:
                group.stop()
                raise
            return [result.result() for result in waiting]
    finally:
        _group.reset(token)
