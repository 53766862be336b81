"""From blocking code to asynchronous requests and back: one event loop a process, in a thread of
its own, so that clients and their connections outlive a call."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from simulators.chat.types import ChatModel, ChatRequest, Reply

Item = TypeVar("Item")
Result = TypeVar("Result")
OnReply = Callable[[int, Reply], None]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="chat", daemon=True).start()
    return loop


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The coroutine's result; an interrupt of the waiting thread cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
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
    """The function's result for each item, computed in threads at the same time."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(len(items)) as threads:
        waiting = [threads.submit(contextvars.copy_context().run, function, item) for item in items]
        return [result.result() for result in waiting]
