"""Asking the annotator with somebody listening, and what asking it would take."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from farm.config import build, unpaid
from farm.console import Console
from farm.estimate import Estimate
from farm.heartbeat import listening
from farm.protocols import Annotator
from farm.stages.labelling import accounts, caveats
from farm.types import Judgment, Pair
from farm.worker import Progress
from simulators.validation.settings import ValidateSettings


class Heard:
    """An annotator, and the `farm.heartbeat.Listener` at it, who hands on its progress over all
    draws and each of its notes once."""

    def __init__(
        self,
        annotator: Annotator,
        total: int,
        update: Callable[[Progress], None],
        warn: Callable[[str], None],
    ) -> None:
        self.judgments: list[Judgment] = []
        """All there are by now."""
        self._annotator = annotator
        self._total = total
        self._update = update
        self._warn = warn
        self._within = 0
        self._sums: dict[str, float] = defaultdict(float)
        self._notes: set[str] = set()

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The annotator's judgments."""
        self.beat(0, {})
        with listening(self):
            judgments = self._annotator.annotate(pairs, seed=seed, draw=draw)
        self.judgments += judgments
        self._within = 0  # programs do not beat, and a vote's several answers beat several times
        self.beat(0, {})
        return judgments

    def beat(self, done: int, metrics: Mapping[str, float]) -> None:
        """Add up and hand on."""
        self._within += done
        for name, value in metrics.items():
            self._sums[name] += value
        reached = min(len(self.judgments) + self._within, self._total)
        self._update(Progress(reached, self._total, self._sums))

    def note(self, text: str) -> None:
        """Hand on what is new."""
        if text not in self._notes:
            self._notes.add(text)
            self._warn(text)


@contextmanager
def heard(
    annotator: Annotator, pairs: Sequence[Pair], settings: ValidateSettings, console: Console
) -> Iterator[Annotator]:
    """The annotator, which shows its progress where there is a terminal; its notes, and at the end
    the caveats of its verdicts, are printed as warnings."""

    def warn(text: str) -> None:
        console.message(f"warning: {text}")

    with console.stage(settings.name) as update:
        listener = Heard(annotator, len(pairs) * settings.repeats, update, warn)
        yield listener
    for caveat in caveats(listener.judgments):
        warn(caveat)


def estimate(
    node: Mapping[str, Any], pairs: Sequence[Pair], settings: ValidateSettings
) -> Estimate | None:
    """What asking would take; None where nobody asked is paid."""
    quoting = unpaid(node)
    if quoting == node:
        return None
    annotator = build(quoting)
    draws = [annotator.annotate(pairs, seed=settings.seed, draw=d) for d in range(settings.repeats)]
    bill = accounts([judgment for draw in draws for judgment in draw if not judgment.cached])
    return Estimate(
        f"{settings.name}, repeats={settings.repeats}",
        len(pairs),
        bill["requests"],
        bill["prompt_tokens"],
        bill["completion_tokens"],
        bill["cost_usd"],
        sampled=True,
    )
