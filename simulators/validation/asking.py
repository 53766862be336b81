"""Asking the annotator with somebody listening, and what asking it would take."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from farm.console import Console
from farm.estimate import Estimate, is_paid, quote
from farm.heartbeat import Adding, listening
from farm.protocols import Annotator
from farm.stages.labelling import caveats
from farm.types import Judgment, Pair
from farm.worker import Progress
from simulators.validation.settings import ValidateSettings


class Heard(Adding):
    """An annotator with an ear on it, over all its draws."""

    def __init__(
        self,
        annotator: Annotator,
        total: int,
        update: Callable[[Progress], None],
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(total, lambda done, of, sums: update(Progress(done, of, sums)), warn)
        self.judgments: list[Judgment] = []
        """All there are by now."""
        self._annotator = annotator

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The annotator's judgments."""
        self.beat(0, {})
        with listening(self):
            judgments = self._annotator.annotate(pairs, seed=seed, draw=draw)
        self.judgments += judgments
        self.finished(len(pairs))
        return judgments


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
    if not is_paid(node):
        return None
    what = f"{settings.name}, repeats={settings.repeats}"
    return quote(what, node, pairs, seed=settings.seed, sampled=True, draws=settings.repeats)
