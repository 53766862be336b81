"""One link of a chain of trainings within a learner: a work folder of its own, steps that go on
from the link before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from farm.context import Context


@dataclass
class Link(Context):
    """The context of a training that is a part of another's; see `link`."""

    whole: Context | None = None
    """The context of the whole: its metrics and checkpoints go there."""
    before: int = 0
    """Steps of the links before."""
    total: int = 0
    """Steps of all links."""
    also: Mapping[str, float] | None = None
    """Metrics that are added to each step's."""

    def log(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Into the metrics of the whole."""
        assert self.whole is not None
        self.whole.log(self.before + step, self.total, {**metrics, **(self.also or {})})

    def rewind_metrics(self, step: int) -> None:
        """Those of the whole."""
        assert self.whole is not None
        self.whole.rewind_metrics(self.before + step)

    def note(self, text: str) -> None:
        """To the readers of the whole."""
        assert self.whole is not None
        self.whole.note(text)

    def keep(self, name: str, text: str) -> None:
        """In the link's own folder, where this rank writes."""
        assert self.whole is not None
        self.whole.keep(f"{self.work.relative_to(self.whole.work)}/{name}", text)

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """A checkpoint of the whole."""
        assert self.whole is not None
        self.whole.checkpoint(self.before + step, save)


def link(
    whole: Context,
    name: str,
    seed: int,
    *,
    before: int,
    total: int,
    also: Mapping[str, float] | None = None,
) -> Link:
    """The context of the link `name`, which works in a folder of that name."""
    work = whole.work / name
    work.mkdir(exist_ok=True)
    return Link(
        seed=seed, work=work, tuning=whole.tuning, device=whole.device,
        ranks=whole.ranks, samplers=whole.samplers, scorers=whole.scorers,
        engine_of=whole.engine_of, on_progress=whole.on_progress, check_fence=whole.check_fence,
        whole=whole, before=before, total=total, also=also,
    )  # fmt: skip
