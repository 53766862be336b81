"""Several reward models in place of one (Coste et al. 2023, arXiv 2310.02743), so that where they
disagree, which is where one alone would be exploited, their common score can be careful.

The paper's five members saw the same labels in another order and began with other heads. Here heads
begin at zero, and each member learns from a bootstrap of the instructions (as many, drawn with
replacement, each with all its labels) in an order of its own: so they disagree where the labels'
noise decides. Scores of preferences are known up to a constant, and the lowest of several means
little before that is settled: each member's mean over some training answers is subtracted.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from farm.checks import require, require_at_least
from farm.config import build
from farm.protocols import RewardLearner
from farm.scorers.ensemble import Aggregate
from farm.seeds import generator
from farm.training.preferences import heard, note_labels
from farm.types import LabeledPair, PolicyRef, ScorerRef
from methods.reward.held_out import note_validation, split
from methods.reward.links import link

if TYPE_CHECKING:
    from farm.context import Context

_CENTRED_ON = 512
"""Labels whose answers' mean score is a member's offset."""


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Trains `size` members, which stay in the folders `member-0`, `member-1`, ... with their
    metrics; `validation.json` is about all of them as one.

    Raises `ConfigError` for values out of range and `DataError` where no judgment is left to learn
    from.
    """

    stage_version: ClassVar[int] = 1

    member: RewardLearner
    """How each learns."""
    aggregate: Aggregate
    """What their scores come to."""
    size: int = 5
    validation_fraction: float = 0.05
    """Share of the instructions that no member learns from."""

    def __post_init__(self) -> None:
        require_at_least("size", self.size, 2)
        fraction = self.validation_fraction
        require("validation_fraction", fraction, "in [0, 1)", 0 <= fraction < 1)
        require("aggregate", self.aggregate, "a dataclass", is_dataclass(self.aggregate))

    def fit(
        self, start: PolicyRef, judgments: Sequence[LabeledPair], context: "Context"
    ) -> ScorerRef:
        """The members as one `EnsembleScorer`."""
        found = heard(judgments)
        note_labels(found, context)
        training, validation = split(found.labels, self.validation_fraction, context.seed)
        members = [self._member(n, start, training, context) for n in range(self.size)]
        config = {
            "_target_": "farm.scorers.ensemble.EnsembleScorer",
            "members": members,
            "aggregate": _node(self.aggregate),
            "offsets": context.ranks.once(
                lambda: [_mean_score(member, training[:_CENTRED_ON]) for member in members]
            ),
        }
        note_validation(build(config), validation, context)
        return ScorerRef(config)

    def _member(
        self, number: int, start: PolicyRef, training: Sequence[LabeledPair], context: "Context"
    ) -> dict[str, Any]:
        """How to build the member's scorer."""
        with link(context, f"member-{number}") as own:
            return dict(self.member.fit(start, bootstrap(training, own.seed), own).config)


def bootstrap(labels: Sequence[LabeledPair], seed: int) -> list[LabeledPair]:
    """The labels of as many instructions as there are, drawn with replacement."""
    by_instruction: dict[str, list[LabeledPair]] = {}
    for label in labels:
        by_instruction.setdefault(label.pair.instruction.id, []).append(label)
    groups = list(by_instruction.values())
    drawn = generator(seed, "bootstrap").integers(len(groups), size=len(groups))
    return list(chain.from_iterable(groups[number] for number in drawn))


def _mean_score(member: dict[str, Any], labels: Sequence[LabeledPair]) -> float:
    pairs = [label.pair for label in labels]
    instructions = [pair.instruction for pair in pairs]
    answers = [pair.output_a for pair in pairs] + [pair.output_b for pair in pairs]
    return float(build(member).score(instructions * 2, answers).mean())


def _node(aggregate: Any) -> dict[str, Any]:
    kind = type(aggregate)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **asdict(aggregate)}
