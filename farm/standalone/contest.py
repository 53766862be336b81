"""Who is judged against whom on which instructions: checked before anything is paid for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.config import build
from farm.data.answers import AnswerSet, answered_by, read_answers
from farm.data.files import FILE_TYPES
from farm.errors import ConfigError, DataError, FarmError
from farm.learning import source_node
from farm.standalone.policies import Policy, find_policy
from farm.standalone.settings import EvaluateSettings
from farm.types import Instruction

Side = AnswerSet | Policy


@dataclass(frozen=True)
class Contest:
    """Sides that all answer the same instructions."""

    instructions: Sequence[Instruction]
    reference: Side
    sides: Sequence[Side]
    """What is evaluated, each by a name of its own."""

    @property
    def notes(self) -> list[str]:
        """What readers must know of the answers in the files."""
        given = [side for side in (self.reference, *self.sides) if isinstance(side, AnswerSet)]
        empty = {s.name: sum(not s.texts[i.id].strip() for i in self.instructions) for s in given}
        notes = [f"{name}: {count:,} outputs are empty." for name, count in empty.items() if count]
        left_out = {id for side in given for id in side.texts} - {i.id for i in self.instructions}
        if left_out:
            notes.append(f"{len(left_out):,} instructions are left out: not all files answer them.")
        return notes


def find_contest(config: Mapping[str, Any], settings: EvaluateSettings) -> Contest:
    """What the configuration names, read and joined. Raises ConfigError and DataError."""
    (reference, *others) = _sides("evaluation.reference", settings.evaluation.reference, settings)
    if others:
        names = ", ".join(side.name for side in (reference, *others))
        raise DataError(
            f"evaluation.reference={settings.evaluation.reference} holds outputs of several "
            f"generators ({names}); right would be one: keep the rows of one of them in a file."
        )
    sides = [side for s in settings.sources for side in _sides("outputs", s, settings)]
    _check_names(sides)
    given = [side for side in (reference, *sides) if isinstance(side, AnswerSet)]
    asked = answered_by(given, settings.evaluation.instructions) if given else {}
    return Contest(_with_data(config, asked), reference, sides)


def _sides(key: str, source: str, settings: EvaluateSettings) -> Sequence[Side]:
    """The sets of a file, or a policy; errors begin with the key."""
    try:
        if Path(source).suffix in FILE_TYPES or Path(source).is_file():
            return read_answers(Path(source))
        return [find_policy(source, settings)]
    except FarmError as error:
        raise type(error)(f"{key}: {error}") from error


def _check_names(sides: Sequence[Side]) -> None:
    name, times = Counter(side.name for side in sides).most_common(1)[0]
    if times > 1:
        paths = ", ".join(str(side.path) for side in sides if side.name == name)
        raise DataError(
            f"outputs: {times} are named {name}: {paths}. Name them apart, by the `generator` of "
            "a file's rows, or by the names of files or folders."
        )


def _with_data(
    config: Mapping[str, Any], asked: Mapping[str, Instruction]
) -> Sequence[Instruction]:
    """The instructions, each as the data has it where the data is chosen and knows it, with its
    category and demonstration; the split `evaluation` where no file says what is asked."""
    source = source_node(config)
    if not source and not asked:
        raise ConfigError(
            "data: policies alone say not what they are asked. Give data=CHOICE, whose split "
            "`evaluation` they then answer, or a file of outputs as one of the sides."
        )
    splits = build(source).load() if source else {}
    if not asked and not splits["evaluation"]:
        raise DataError("data: its split `evaluation` is empty, so nobody is asked anything.")
    if not asked:
        return list(splits["evaluation"])
    known = {instruction.id: instruction for split in splits.values() for instruction in split}
    return [known.get(id, instruction) for id, instruction in asked.items()]
