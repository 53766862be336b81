"""Files of outputs in AlpacaEval's format, and whether several of them answer the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from farm.data.files import read_table
from farm.data.records import last_user_text
from farm.data.rows import RowError, instruction_of
from farm.errors import DataError
from farm.types import Instruction

_SHOWN = 3
"""Instructions, or sets, that an error names."""
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class AnswerSet:
    """One answer to each of some instructions, all by one author."""

    name: str
    """The rows' `generator`, or the file's name without its ending."""
    path: Path
    instructions: dict[str, Instruction] = field(default_factory=dict)
    """By id, in the file's order."""
    texts: dict[str, str] = field(default_factory=dict)
    """By instruction id. An empty answer is an answer."""


def read_answers(path: Path) -> list[AnswerSet]:
    """The sets of a json, jsonl, csv or parquet file, one for each `generator`, in its order.

    A row has `instruction`, with or without `input`, or `messages`, and `output`, or a final
    assistant's turn. A row that is there twice counts once. Raises DataError naming file and row,
    and where a set answers an instruction in several ways.
    """
    sets: dict[str, AnswerSet] = {}
    twice: list[tuple[str, Instruction]] = []
    for name, instruction, text in _rows(path):
        answers = sets.setdefault(name, AnswerSet(name, path))
        answers.instructions.setdefault(instruction.id, instruction)
        if answers.texts.setdefault(instruction.id, text) != text:
            twice.append((name, instruction))
    if not sets:
        raise DataError(f"{path} holds no row; right would be one output a row.")
    if twice:
        raise DataError(
            f"{path}: {len(twice):,} rows answer an instruction that has another output by the "
            f"same generator ({', '.join(dict.fromkeys(name for name, _ in twice))}): "
            f"{_shown([instruction for _, instruction in twice])}. Keep one output of each "
            "`generator` for each instruction."
        )
    return list(sets.values())


def _rows(path: Path) -> Iterator[tuple[str, Instruction, str]]:
    for place, row in read_table(path):
        try:
            yield _answer(row, path.stem)
        except RowError as error:
            raise DataError(f"{place}: {error}") from error


def _answer(row: Any, default_name: str) -> tuple[str, Instruction, str]:
    """Generator, instruction and output of a row. Raises RowError."""
    if isinstance(row, RowError):
        raise row
    asked = row
    if isinstance(row, Mapping):
        asked = {key: value for key, value in row.items() if key != "output"}
    found = instruction_of(asked)
    text = found.demonstration if row.get("output") is None else row["output"]
    if text is None:
        raise RowError(f"it has {', '.join(map(str, row))}, but no `output`, the answer to judge.")
    if not isinstance(text, str):
        raise RowError(f"`output` is {text!r}; it must be text.")
    # What was answered here is no demonstration of how to answer.
    instruction = Instruction(found.id, found.messages, None, found.category, found.source)
    return str(row.get("generator") or default_name), instruction, text


def answered_by(
    sets: Sequence[AnswerSet], which: Literal["all", "common"]
) -> dict[str, Instruction]:
    """The instructions that the sets answer, by id, in the first set's order.

    `all` asks that every set answers what any of them answers; `common` leaves out what some set
    does not answer. Raises DataError where that cannot be had, saying who lacks what.
    """
    asked: dict[str, Instruction] = {}
    for answers in sets:
        asked = {**answers.instructions, **asked}
    common = {id: sets[0].instructions[id] for id in sets[0].texts if _all_answer(sets, id)}
    if not common:
        raise DataError(_nothing_common(sets))
    if which == "all" and len(common) < len(asked):
        raise DataError(_incomplete(sets, asked, len(common)))
    return common


def _all_answer(sets: Sequence[AnswerSet], id: str) -> bool:
    return all(id in answers.texts for answers in sets)


def _nothing_common(sets: Sequence[AnswerSet]) -> str:
    first, *others = sets
    apart = next((one for one in others if not one.texts.keys() & first.texts.keys()), others[-1])
    beginnings = " and ".join(
        f"{one.path} ({one.name}) begins with {_shown(list(one.instructions.values())[:1])}"
        for one in (first, apart)
    )
    return (
        f"No instruction is answered by all outputs and the reference: {beginnings}. Instructions "
        "are the same where their whole texts are, `instruction` and `input`."
    )


def _incomplete(sets: Sequence[AnswerSet], asked: Mapping[str, Instruction], common: int) -> str:
    lacking = [(s, [asked[id] for id in asked if id not in s.texts]) for s in sets]
    lines = [
        f"{s.path} ({s.name}) has no output for {len(missing):,} of {len(asked):,} instructions: "
        f"{_shown(missing)}"
        for s, missing in lacking
        if missing
    ]
    more = [f"{len(lines) - _SHOWN} more lack some"] if len(lines) > _SHOWN else []
    return (
        f"{'; '.join([*lines[:_SHOWN], *more])}. Add them, or judge the {common:,} that all answer "
        "with evaluation.instructions=common."
    )


def _shown(instructions: Sequence[Instruction]) -> str:
    """The first few by what their last user turn says."""
    texts = [_shortened(last_user_text(instruction)) for instruction in instructions[:_SHOWN]]
    more = len(instructions) - len(texts)
    return ", ".join([*texts, *([f"and {more:,} more"] if more else [])])


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 3]}...")
