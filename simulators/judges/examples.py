"""In-context examples: judged pairs, shown to a judge as earlier turns of the chat."""

from pathlib import Path
from typing import Any

from farm.data.files import read_table
from farm.data.records import make_pair
from farm.data.rows import RowError, instruction_of
from farm.errors import DataError
from farm.types import Message
from simulators.judges.parsers import Parser, Verdict
from simulators.judges.template import MATERIAL, Template, fill, pairs_material


def example_turns(path: Path, template: Template, parser: Parser) -> tuple[Message, ...]:
    """A user's and an assistant's turn for each row. Raises DataError naming file and row."""
    return tuple(
        turn for place, row in read_table(path) for turn in _turns(row, place, template, parser)
    )


def _turns(row: Any, place: str, template: Template, parser: Parser) -> tuple[Message, Message]:
    try:
        pair = make_pair(instruction_of(row), row["output_1"], row["output_2"])
        verdict = Verdict(float(row["preference"]) - 1, row.get("explanation"))
    except (RowError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{place}: {error}. An example has `instruction`, `output_1`, `output_2` and "
            "`preference` between 1 (the first is better) and 2."
        ) from error
    asked = fill(template.user, {MATERIAL: pairs_material([pair], parser.labels)})
    return Message("user", asked), Message("assistant", parser.write([verdict]))
