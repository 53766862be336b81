"""Signs of life from deep inside a stage: who works long, or notices something, says so without
knowing who listens."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
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


class Adding:
    """A `Listener` that adds up what it hears over several calls, and hands on each note once."""

    def __init__(
        self,
        total: int,
        on_progress: Callable[[int, int, Mapping[str, float]], None],
        on_note: Callable[[str], None],
    ) -> None:
        self.done = 0
        """Items that earlier calls finished."""
        self._total = total
        self._on_progress = on_progress
        self._on_note = on_note
        self._within = 0
        self._sums: dict[str, float] = defaultdict(float)
        self._notes: set[str] = set()

    def beat(self, done: int, metrics: Mapping[str, float]) -> None:
        """Add up and hand on."""
        self._within += done
        for name, value in metrics.items():
            self._sums[name] += value
        self._on_progress(min(self.done + self._within, self._total), self._total, self._sums)

    def note(self, text: str) -> None:
        """Hand on what is new."""
        if text not in self._notes:
            self._notes.add(text)
            self._on_note(text)

    def finished(self, count: int) -> None:
        """A call is over: programs do not beat, and several answers to one item beat several
        times, so what was heard within it counts no more."""
        self.done, self._within = self.done + count, 0
        self.beat(0, {})


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
