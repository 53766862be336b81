"""From noisy judgments to what pairwise losses learn from."""

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from farm.errors import DataError
from farm.types import Instruction, LabeledPair

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context

logger = logging.getLogger(__name__)


class Heard(NamedTuple):
    """The judgments with a verdict, and how many have none."""

    labels: list[LabeledPair]
    """Ties and soft preferences as they are."""
    no_verdicts: int
    """Preference None: dropped, never counted as a label."""

    @property
    def ties(self) -> int:
        """How many say 0.5."""
        return sum(judgment.preference == 0.5 for _, judgment in self.labels)


def heard(judgments: Sequence[LabeledPair]) -> Heard:
    """The judgments that say something. Raises `DataError` when none prefers an answer."""
    labels = [label for label in judgments if label.judgment.preference is not None]
    found = Heard(labels, len(judgments) - len(labels))
    if found.ties == len(labels):
        raise DataError(
            f"none of the {len(judgments)} judgments prefers an answer ({found.ties} ties, "
            f"{found.no_verdicts} without a verdict): there is nothing to learn from."
        )
    return found


def note_labels(found: Heard, context: "Context") -> None:
    """Log the counts and keep them in `labels.json`."""
    counts = {
        "used": len(found.labels),
        "ties": found.ties,
        "no_verdicts_dropped": found.no_verdicts,
    }
    context.keep("labels.json", json.dumps(counts) + "\n")
    logger.info("labels: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


class Preference(NamedTuple):
    """The answer that was preferred and the one that was not."""

    instruction: Instruction
    chosen: str
    rejected: str


def decided(labels: Sequence[LabeledPair]) -> list[Preference]:
    """What the labels prefer, for learners that know winners and losers only: soft labels count for
    the side they lean to, ties are left out."""
    preferences = []
    for pair, judgment in labels:
        if judgment.preference is not None and judgment.preference != 0.5:
            answers = pair.output_a, pair.output_b
            chosen = int(judgment.preference > 0.5)
            preferences.append(Preference(pair.instruction, answers[chosen], answers[1 - chosen]))
    return preferences


class PairRows(NamedTuple):
    """Labelled pairs as token ids."""

    prompts: list[list[int]]
    a: list[list[int]]
    """Answers, with their end id unless they were cut."""
    b: list[list[int]]
    preferences: list[float]
    """P(b is better)."""

    def some(self, rows: Sequence[int]) -> "PairRows":
        """Those with these numbers."""
        return PairRows(
            [self.prompts[i] for i in rows],
            [self.a[i] for i in rows],
            [self.b[i] for i in rows],
            [self.preferences[i] for i in rows],
        )

    def lengths(self) -> list[int]:
        """Tokens that a pair takes: the prompt goes with both answers."""
        return [
            2 * len(prompt) + len(a) + len(b)
            for prompt, a, b in zip(self.prompts, self.a, self.b, strict=True)
        ]


def pair_rows(
    tokenizer: Any, labels: Sequence[LabeledPair], *, max_prompt_tokens: int, max_new_tokens: int
) -> PairRows:
    """The labels' ids; answers are cut on the right, prompts on the left."""
    from farm.models import chat

    def answers(texts: list[str]) -> list[list[int]]:
        return [ids[:max_new_tokens] for ids in chat.responses_ids(tokenizer, texts)]

    prompts = [label.pair.instruction.messages for label in labels]
    return PairRows(
        chat.prompts_ids(tokenizer, prompts, max_prompt_tokens=max_prompt_tokens),
        answers([label.pair.output_a for label in labels]),
        answers([label.pair.output_b for label in labels]),
        [float(label.judgment.preference or 0.0) for label in labels],
    )


def expected(preference_B: "Tensor", if_b_B: "Tensor", if_a_B: "Tensor") -> "Tensor":
    """A pair's loss under a soft label: what it would be if b were better, with that probability,
    and if a were, with the rest. A tie weighs both alike."""
    return preference_B * if_b_B + (1 - preference_B) * if_a_B
