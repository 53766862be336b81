"""Annotators in the loop of a learner: asked about answers that were just given, and remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm.data.records import (
    is_canonical,
    make_pair,
    read_judgments,
    turn_judgment,
    turn_pair,
    write_judgments,
)
from farm.heartbeat import listening
from farm.protocols import Annotator, FloatArray
from farm.seeds import derive
from farm.types import Instruction, Judgment, Pair

if TYPE_CHECKING:
    from farm.context import Context


class Comparison(NamedTuple):
    """Two answers to compare."""

    instruction: Instruction
    output_a: str
    output_b: str


class Verdicts(NamedTuple):
    """What the annotators said of some comparisons."""

    preferences: FloatArray
    """P(output_b is better) [N]; NaN where there is no verdict."""
    judgments: int
    """How many of them somebody had to judge: identical answers are a tie that costs nothing."""
    cost_usd: float | None
    """None where a price is not known."""


@dataclass(frozen=True)
class Feedback:
    """Asks `annotator` and keeps what it says in `context.work / "judgments"`, a file for each
    step: a continued run does not ask again."""

    annotator: Annotator
    context: "Context"

    def compare(self, step: int, total: int, asked: Sequence[Comparison]) -> Verdicts:
        """The verdicts on a step's comparisons, in their order; those on one instruction reach the
        annotator contiguously and in one call."""
        pairs = [make_pair(*comparison) for comparison in asked]
        judgments = self._judgments(step, total, [_canonical(pair) for pair in pairs])
        turned = [
            judgment if is_canonical(pair) else turn_judgment(judgment)
            for pair, judgment in zip(pairs, judgments, strict=True)
        ]
        billed = [
            judgment
            for pair, judgment in zip(pairs, judgments, strict=True)
            if pair.output_a != pair.output_b
        ]
        return Verdicts(
            np.array([np.nan if j.preference is None else j.preference for j in turned]),
            len(billed),
            _sum([judgment.cost_usd for judgment in billed]),
        )

    def _judgments(self, step: int, total: int, pairs: Sequence[Pair]) -> list[Judgment]:
        folder = self.context.work / "judgments"
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{step:05d}.parquet"
        if path.exists():
            known = read_judgments(path)
            if [judgment.pair_id for judgment in known] == [pair.id for pair in pairs]:
                return known
        with listening(_Alive(self.context, step, total)):
            judgments = self.annotator.annotate(
                pairs, seed=derive(self.context.seed, "feedback", step)
            )
        partial = path.with_suffix(".tmp")
        write_judgments(judgments, partial)
        self.context.check_fence()
        partial.replace(path)
        return judgments


@dataclass(frozen=True)
class _Alive:
    """Hands signs of life and notes of annotators to a learner's context."""

    context: "Context"
    step: int
    total: int

    def beat(self, done: int, metrics: Mapping[str, float]) -> None:
        """The step goes on."""
        if self.context.on_progress is not None:
            self.context.on_progress(self.step, self.total, metrics)

    def note(self, text: str) -> None:
        """For the readers of the run."""
        self.context.note(text)


def _canonical(pair: Pair) -> Pair:
    return pair if is_canonical(pair) else turn_pair(pair)


def _sum(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
