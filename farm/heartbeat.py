"""Signs of life from deep inside a stage: who works long, or notices something, says so without
knowing who listens."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Listener(Protocol):
    """Hears what is said below it."""

    def beat(self, done: int, metrics: Mapping[str, float]) -> None:
        """`done` items more are finished; the metrics' values add up."""
        ...

    def note(self, text: str) -> None:
        """Something that readers of the run must know."""
        ...


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hear what is said inside, in its threads and tasks too."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def beat(done: int, metrics: Mapping[str, float]) -> None:
    """Tell the listener, if there is one."""
    if listener := _listener.get():
        listener.beat(done, metrics)


def note(text: str) -> None:
    """Tell the listener, if there is one."""
    if listener := _listener.get():
        listener.note(text)
