"""From noisy judgments to the decided preferences that pairwise losses learn from."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from farm.errors import DataError
from farm.types import Instruction, LabeledPair

logger = logging.getLogger(__name__)


class Preference(NamedTuple):
    """The answer that was preferred and the one that was not."""

    instruction: Instruction
    chosen: str
    rejected: str


class Decided(NamedTuple):
    """The preferences among some judgments, and how many of them were none."""

    preferences: list[Preference]
    ties: int
    """Preference 0.5: dropped, for pairwise losses say nothing about them."""
    no_verdicts: int
    """Preference None: dropped, never counted as a label."""


def decided(judgments: Sequence[LabeledPair]) -> Decided:
    """The judgments that prefer one answer; soft ones count for the side they lean to. Raises
    `DataError` when there is none."""
    preferences, ties, no_verdicts = [], 0, 0
    for pair, judgment in judgments:
        if judgment.preference is None:
            no_verdicts += 1
        elif judgment.preference == 0.5:
            ties += 1
        else:
            answers = pair.output_a, pair.output_b
            chosen = int(judgment.preference > 0.5)
            preferences.append(Preference(pair.instruction, answers[chosen], answers[1 - chosen]))
    if not preferences:
        raise DataError(
            f"none of the {len(judgments)} judgments prefers an answer ({ties} ties, "
            f"{no_verdicts} without a verdict): there is nothing to learn from."
        )
    return Decided(preferences, ties, no_verdicts)


def note_labels(labels: Decided, work: Path) -> None:
    """Log the counts and keep them in `labels.json`."""
    counts = {
        "used": len(labels.preferences),
        "ties_dropped": labels.ties,
        "no_verdicts_dropped": labels.no_verdicts,
    }
    (work / "labels.json").write_text(json.dumps(counts) + "\n")
    logger.info("labels: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))
