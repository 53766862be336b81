"""Tasks and answers that a policy wrote for its own training, and what became of each."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from farm.data.records import user_instruction
from farm.data.self_instruct import Task
from farm.types import Instruction

FILE = "candidates-{round}.json"
"""The candidates of a round, counted from 1, in the learner's work folder and artefact."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One task of a round."""

    instruction: str
    input: str
    answer: str | None
    """None where the task was dropped before anybody answered it."""
    dropped_by: str | None
    """The rule that it broke; None where it passed all of them."""
    score: float | None
    """What the assessment says; None where it was not asked or gave no score."""
    kept: bool
    """Whether it is learned from."""

    @property
    def demonstration(self) -> Instruction:
        """As a row to learn from, or to ask about."""
        return user_instruction(Task(self.instruction, self.input).text, self.answer)


def to_json(candidates: Sequence[Candidate]) -> str:
    """All of a round."""
    return json.dumps([asdict(candidate) for candidate in candidates], ensure_ascii=False)


def read_candidates(path: Path) -> list[Candidate]:
    """What `to_json` wrote."""
    return [Candidate(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def outcomes(candidates: Sequence[Candidate]) -> Mapping[str, int]:
    """How many there are, how many each rule dropped, how many got no score, how many were not
    chosen among those with one, and how many are kept."""
    rules = Counter(c.dropped_by for c in candidates if c.dropped_by is not None)
    passed = [c for c in candidates if c.dropped_by is None]
    lost = [c for c in passed if not c.kept]
    return {
        "written": len(candidates),
        **dict(sorted(rules.items())),
        "no_score": sum(c.score is None for c in lost),
        "not_chosen": sum(c.score is not None for c in lost),
        "kept": sum(c.kept for c in passed),
    }
