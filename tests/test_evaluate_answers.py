"""Files of outputs: what is read, and what is said where they do not fit together."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from farm.data.answers import AnswerSet, answered_by, read_answers
from farm.data.records import last_user_text
from farm.errors import DataError

QUESTIONS = [f"What is {number}?" for number in range(10)]


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def answers(path: Path, asked: Sequence[str], generator: str = "one") -> AnswerSet:
    rows = [{"instruction": q, "output": f"A: {q}", "generator": generator} for q in asked]
    (found,) = read_answers(written(path, rows))
    return found


def test_alpaca_eval_rows_and_conversations(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    rows = [
        {"instruction": "Add.", "input": "1 2", "output": "3", "generator": "m", "dataset": "sums"},
        {"messages": turns, "generator": "m"},
        {"instruction": "Be silent.", "output": "", "generator": "m"},
    ]
    (found,) = read_answers(written(tmp_path / "a.json", rows))
    assert found.name == "m"
    assert list(found.texts.values()) == ["3", "Hi", ""]
    first = next(iter(found.instructions.values()))
    assert (last_user_text(first), first.category) == ("Add.\n\n1 2", "sums")
    assert all(i.demonstration is None for i in found.instructions.values())


def test_generators_are_sets_and_without_one_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([["instruction", "output", "generator"], ["Say a.", "a", "x"],
                         ["Say a.", "b", ""], ["Say a.", "a", "x"]])  # fmt: skip
    found = {one.name: list(one.texts.values()) for one in read_answers(path)}
    assert found == {"x": ["a"], "mine": ["b"]}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"instruction": "Hi", "output_1": "a", "output_2": "b"}], "row 1: it has instruction, "),
        ([{"instruction": "Hi", "output": 3}], "row 1: `output` is 3"),
        (["Hi"], "row 1: it is 'Hi'"),
        ([], "holds no row"),
        (
            [{"instruction": "Hi", "output": text} for text in ("a", "a", "b")],
            r"1 rows answer .* \(bad\): 'Hi'",
        ),
    ],
)
def test_rows_that_are_no_outputs_are_named(tmp_path: Path, rows: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_answers(written(tmp_path / "bad.json", rows))


def test_who_lacks_what_is_said_and_the_common_can_be_had(tmp_path: Path) -> None:
    reference = answers(tmp_path / "reference.json", QUESTIONS)
    short = answers(tmp_path / "short.json", QUESTIONS[6:], "short")
    with pytest.raises(DataError) as raised:
        answered_by([reference, short], "all")
    said = str(raised.value)
    assert "short.json (short) has no output for 6 of 10 instructions: 'What is 0?'" in said
    assert "and 3 more" in said
    assert "reference.json" not in said
    assert "the 4 that all answer with evaluation.instructions=common" in said
    common = answered_by([reference, short], "common")
    assert [last_user_text(i) for i in common.values()] == QUESTIONS[6:]


def test_every_file_must_answer_what_any_answers(tmp_path: Path) -> None:
    reference = answers(tmp_path / "reference.json", QUESTIONS[1:])
    more = answers(tmp_path / "more.json", QUESTIONS, "more")
    with pytest.raises(DataError, match=r"reference.json \(one\) has no output for 1 of 10"):
        answered_by([reference, more], "all")


@pytest.mark.parametrize("which", ["all", "common"])
def test_nothing_in_common(tmp_path: Path, which: Any) -> None:
    reference = answers(tmp_path / "reference.json", QUESTIONS)
    other = answers(tmp_path / "other.json", ["Who?"], "other")
    with pytest.raises(DataError, match=r"No instruction .*'What is 0\?' and .*'Who\?'"):
        answered_by([reference, other], which)
