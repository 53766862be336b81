"""Labels that a reward model does not learn from, and how far it agrees with them."""

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from farm.errors import DataError
from farm.protocols import Scorer
from farm.seeds import uniform
from farm.training.preferences import decided
from farm.types import LabeledPair

if TYPE_CHECKING:
    from farm.context import Context

logger = logging.getLogger(__name__)


class Split(NamedTuple):
    """Labels to learn from, and others; all of an instruction are on one side."""

    training: list[LabeledPair]
    held_out: list[LabeledPair]


def split(
    labels: Sequence[LabeledPair],
    fraction: float,
    seed: int,
    purpose: Literal["validation", "selection"] = "validation",
) -> Split:
    """Hold out the labels of this share of the instructions; each purpose draws for itself.
    Raises `DataError` when nothing is left to learn from."""
    found = Split([], [])
    for label in labels:
        drawn = uniform(seed, purpose, label.pair.instruction.id)
        (found.held_out if drawn < fraction else found.training).append(label)
    if not found.training:
        raise DataError(
            f"{purpose}_fraction={fraction} leaves none of the {len(labels)} labels to learn from."
        )
    return found


class Agreement(NamedTuple):
    """On how many labels that lean to a side a scorer agrees."""

    agreeing: int
    pairs: int

    @property
    def accuracy(self) -> float | None:
        """The share; None of nothing."""
        return self.agreeing / self.pairs if self.pairs else None


def agreement_of(scorer: Scorer, labels: Sequence[LabeledPair]) -> Agreement:
    """The scorer's agreement with (noisy) labels; ties say nothing."""
    rows = decided(labels)
    instructions = [row.instruction for row in rows]
    chosen = scorer.score(instructions, [row.chosen for row in rows])
    rejected = scorer.score(instructions, [row.rejected for row in rows])
    return Agreement(int(np.sum(chosen > rejected)), len(rows))


def note_validation(scorer: Scorer, held_out: Sequence[LabeledPair], context: "Context") -> None:
    """Keep in `validation.json` on how many held-out labels the scorer agrees."""
    found = context.ranks.once(lambda: agreement_of(scorer, held_out))
    noted = {"pairs": found.pairs, "accuracy": found.accuracy}
    context.keep("validation.json", json.dumps(noted) + "\n")
    logger.info("validation: %s", noted)
    if found.pairs and (warning := _may_be_chance(*found)):
        context.note(warning)


def _may_be_chance(agreeing: int, pairs: int) -> str | None:
    """A warning, where the Wilson 95 % interval of the agreement does not lie above one half."""
    from scipy.stats import binomtest

    low, high = binomtest(agreeing, pairs).proportion_ci(method="wilson")
    if low > 0.5:
        return None
    return (
        f"the reward model agrees with {agreeing / pairs:.1%} of {pairs} held-out labels (95 % "
        f"interval {low:.1%} to {high:.1%}), which may be chance: what a learner gains from it "
        "may be luck. More labels, or less noise in them, would help."
    )
