"""AlpacaEval's prompt files: ChatML turns, or one plain text, with placeholders for each pair."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from farm.artifacts import content_hash
from farm.data.records import last_user_text, make_pair, user_instruction
from farm.errors import ConfigError
from farm.types import Message, Pair

_PLACEHOLDER = re.compile(r"\{(instruction|input|output_1|output_2)\}")
_START, _END = "<|im_start|>", "<|im_end|>"
_TURN = re.compile(
    rf"{re.escape(_START)}([^\n]*)\n(.*?)(?={re.escape(_END)}|{re.escape(_START)}|\Z)", re.DOTALL
)
_ROLES = ("system", "user", "assistant")

PADDING = make_pair(user_instruction("1+1="), "2", "3")
"""What AlpacaEval fills up the last batch with."""


@dataclass(frozen=True)
class Template:
    """A prompt file, taken apart before anything is put in: no answer can open or end a turn."""

    turns: tuple[Message, ...]
    batch_size: int
    """Pairs that one prompt asks about."""
    hash: str
    """Of the file's bytes."""

    def messages(self, pairs: Sequence[Pair]) -> tuple[Message, ...]:
        """The chat that asks about the pairs, output_a as output_1; PADDING where the batch is
        short."""
        padded = [*pairs, *[PADDING] * (self.batch_size - len(pairs))]
        values = _values(padded)
        return tuple(
            # One pass: placeholders inside what is put in are not looked at again.
            Message(turn.role, _PLACEHOLDER.sub(lambda m: next(values[m[1]]), turn.content).strip())
            for turn in self.turns
        )


def _values(pairs: Sequence[Pair]) -> Mapping[str, Iterator[str]]:
    """For each placeholder what its occurrences stand for, from the first to the last."""
    return {
        "instruction": iter([last_user_text(pair.instruction) for pair in pairs]),
        "input": iter([""] * len(pairs)),
        "output_1": iter([pair.output_a for pair in pairs]),
        "output_2": iter([pair.output_b for pair in pairs]),
    }


def load_template(file: Path, batch_size: int) -> Template:
    """The template in a prompt file. Raises ConfigError for a missing file, turns that cannot be
    read, and placeholders that do not occur once for each pair of a batch."""
    if not file.is_file():
        raise ConfigError(
            f"prompt_template: there is no file {file}. AlpacaEval's paths start at the folder "
            "that holds the annotator's directory; copy that with the directories it points to."
        )
    text = file.read_text(encoding="utf-8").strip()
    counts = Counter(_PLACEHOLDER.findall(text))
    wrong = [name for name in ("output_1", "output_2", *counts) if counts[name] != batch_size]
    if wrong:
        raise ConfigError(
            f"{file}: {{{wrong[0]}}} occurs {counts[wrong[0]]} times, but a prompt for "
            f"batch_size={batch_size} has it {batch_size} times."
        )
    return Template(_turns(text, file), batch_size, content_hash(file))


def _turns(text: str, file: Path) -> tuple[Message, ...]:
    """A text without chat markers is one user turn."""
    if _START not in text:
        return (Message("user", text),)
    turns = tuple(Message(role.strip(), content) for role, content in _TURN.findall(text))
    unknown = [turn.role for turn in turns if turn.role not in _ROLES]
    if unknown or not text.startswith(_START) or not text.endswith(_END):
        raise ConfigError(
            f"{file}: a chat prompt is a sequence of turns {_START}ROLE, a line break, the text "
            f"and {_END}, with the roles {', '.join(_ROLES)}; unknown here: {unknown}."
        )
    return turns
