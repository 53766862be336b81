"""Gold for word problems that have one number as their answer."""

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from farm.protocols import FloatArray
from farm.types import Instruction

_MARKER = "####"
_NUMBER = re.compile(r"(?<![\w.)])-?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)")


class GSM8KExactMatch:
    """A gold `Scorer`: 1 where the answer's number equals the demonstration's, else 0.

    GSM8K (arXiv 2110.14168) marks a demonstration's number with '####'. Demonstrations of the
    given `sources` need no marker: copies of GSM8K without that line state the number as the
    result of their last line. NaN for all other instructions.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, sources: Sequence[str] = ()) -> None:
        self.sources = frozenset(sources)

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N], 1.0, 0.0 or NaN."""
        return np.array(
            [self._score(i, text) for i, text in zip(instructions, completions, strict=True)],
            dtype=np.float64,
        )

    def _score(self, instruction: Instruction, completion: str) -> float:
        gold = self._gold(instruction)
        return float("nan") if gold is None else float(final_number(completion) == gold)

    def _gold(self, instruction: Instruction) -> float | None:
        demonstration = instruction.demonstration
        if demonstration is None:
            return None
        if _MARKER not in demonstration and instruction.source not in self.sources:
            return None
        return final_number(demonstration)


def final_number(text: str) -> float | None:
    """The number that a solution ends in: the first one behind '####'; without that marker the
    first one behind the last line's last '='; without either the text's last number.

    Without a marker this is a reading: a last line that goes on to other figures may mislead it.
    """
    _, marker, answer = text.rpartition(_MARKER)
    if marker:
        return _first(answer)
    *_, last_line = text.strip().split("\n")
    result = _first(last_line.rpartition("=")[2]) if "=" in last_line else None
    return result if result is not None else _last(text)


def _first(text: str) -> float | None:
    return _value(_NUMBER.findall(text)[:1])


def _last(text: str) -> float | None:
    return _value(_NUMBER.findall(text)[-1:])


def _value(found: list[str]) -> float | None:
    return float(found[0].replace(",", "")) if found else None
