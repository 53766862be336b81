"""Rows of every file type, what is wrong with bad ones, and splits that hold."""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from farm.data.files import Files
from farm.data.splits import split_by_hash
from farm.errors import ConfigError, DataError
from farm.types import MEASURED_SPLITS, SPLITS, Message

ALL_SFT = {"sft": 1.0, "preference": 0, "unlabeled": 0, "validation": 0, "evaluation": 0}
MIXED = {"sft": 0.3, "preference": 0.3, "unlabeled": 0.28, "validation": 0.04, "evaluation": 0.08}
ROWS = [
    {"instruction": "Name a bird.", "input": "", "output": "A wren, «small».", "source": ""},
    {"instruction": "Add the numbers.", "input": "1,\n2", "output": "3", "source": "sums"},
]


def _write(path: Path, rows: list[Any]) -> Path:
    writers = {
        ".jsonl": lambda: path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8"),
        ".json": lambda: path.write_text(json.dumps(rows), encoding="utf-8"),
        ".csv": lambda: _write_csv(path, rows),
        ".parquet": lambda: pq.write_table(pa.Table.from_pylist(rows), path),
    }
    writers[path.suffix]()
    return path


def _write_csv(path: Path, rows: list[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["instruction", "input", "output", "source"])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_file_type_gives_the_same_instructions(suffix: str, tmp_path: Path) -> None:
    source = Files(str(_write(tmp_path / f"rows{suffix}", ROWS)), ALL_SFT)
    bird, numbers = source.load()["sft"]
    assert bird.messages == (Message("user", "Name a bird."),)
    assert (bird.demonstration, bird.source) == ("A wren, «small».", None)
    assert numbers.messages == (Message("user", "Add the numbers.\n\n1,\n2"),)
    assert (numbers.demonstration, numbers.source) == ("3", "sums")
    assert source.notes == []


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_final_assistant_turn_is_the_demonstration(suffix: str, tmp_path: Path) -> None:
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Sum 1 2")]
    messages = [{"role": role, "content": content} for role, content in turns]
    rows = [
        {"messages": [*messages, {"role": "assistant", "content": "3"}], "output": None},
        {"messages": messages[:2]},
        {"messages": messages[:2], "output": "Hello"},
    ]
    loaded = Files(str(_write(tmp_path / f"chats{suffix}", rows)), ALL_SFT).load()["sft"]
    (shown,) = (row for row in loaded if len(row.messages) == len(turns))
    asked, answered = (row for row in loaded if row is not shown)
    assert shown.messages == tuple(Message(role, content) for role, content in turns)
    demonstrations = (shown.demonstration, asked.demonstration, answered.demonstration)
    assert demonstrations == ("3", None, "Hello")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{'instruction'", "no JSON"),
        ('["Name a bird."]', "right would be an object"),
        ('{"prompt": "x"}', "it has prompt; right would be `instruction` or `messages`"),
        ('{"instruction": "  "}', "`instruction` is empty"),
        ('{"instruction": 3}', "`instruction` is 3; it must be text"),
        ('{"instruction": "x", "output": ["y"]}', "`output` is"),
        ('{"messages": []}', "`messages` is"),
        ('{"messages": [{"role": "bot", "content": "x"}]}', "the role 'bot'"),
        ('{"messages": [{"role": "user"}]}', "it needs role and content"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "assistant alone"),
        (
            '{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}',
            "user, user; right would be",
        ),
    ],
)
def test_a_malformed_row_is_named_or_skipped(row: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"instruction": "Name a bird."}}\n\n{row}\n')
    with pytest.raises(DataError) as error:
        Files(str(path), ALL_SFT).load()
    assert f"{path}, line 3: " in str(error.value)
    assert problem in str(error.value)
    source = Files(str(path), ALL_SFT, on_bad_row="skip")
    assert len(source.load()["sft"]) == 1
    (note,) = source.notes
    assert note.startswith(f"1 malformed rows skipped; the first: {path}, line 3")


def test_a_csv_row_with_too_few_or_too_many_fields_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('instruction,output\n"two\nlines",x\nlonely\na,b,c\n')
    with pytest.raises(DataError, match="line 4: it does not have the header's 2 fields"):
        Files(str(path), ALL_SFT).load()
    source = Files(str(path), ALL_SFT, on_bad_row="skip")
    assert [i.demonstration for i in source.load()["sft"]] == ["x"]
    assert "2 malformed rows" in source.notes[0]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("rows.json", b'[{"instruction": "x"},', "line 1, column 23: no JSON"),
        ("rows.json", b'{"instruction": "x"}', "right would be a list"),
        ("rows.jsonl", b'{"instruction": "\xff"}', "not UTF-8"),
        ("rows.parquet", b"instruction", "no parquet file"),
        ("rows.csv", b'instruction\n"x', "no CSV"),
    ],
)
def test_an_unreadable_file_is_named(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem) as error:
        Files(str(tmp_path / name), ALL_SFT, on_bad_row="skip").load()
    assert name in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: there is no such file"):
        Files(str(tmp_path / "none.csv"), ALL_SFT).load()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"path": "rows.txt"}, r"data\.path=rows\.txt"),
        ({"on_bad_row": "ignore"}, r"data\.on_bad_row=ignore"),
        ({"limit": 0}, r"data\.limit=0"),
        ({"ratios": {**MIXED, "sft": 0.5}}, "sum to 1.2"),
        ({"ratios": {**MIXED, "sft": -0.1}}, r"data\.ratios\.sft=-0\.1"),
        ({"ratios": {"sft": 1.0}}, "it must name each of"),
    ],
)
def test_keys_are_checked(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Files(**{"path": "rows.csv", "ratios": MIXED, **keys})


def test_splits_follow_the_ratios_and_keep_duplicates_together(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Count to {n}.", "output": str(k)} for k in range(2) for n in range(2000)
    ]
    splits = Files(str(_write(tmp_path / "rows.json", rows)), MIXED).load()
    ids = {name: [i.id for i in splits[name]] for name in SPLITS}
    for name in SPLITS:
        copies = 1 if name in MEASURED_SPLITS else 2
        assert len(ids[name]) == copies * len(set(ids[name]))
        assert len(set(ids[name])) / 2000 == pytest.approx(MIXED[name], abs=0.03)
    assert len(set().union(*ids.values())) == 2000
    fewer = Files(str(tmp_path / "rows.json"), MIXED, limit=1000).load()
    assert all({i.id for i in fewer[name]} <= set(ids[name]) for name in SPLITS)


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(DataError, match="0 instructions leave the split sft empty"):
        split_by_hash([], MIXED)


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    first, second = (_write(tmp_path / f"{name}.json", ROWS) for name in ("a", "b"))
    third = _write(tmp_path / "c.json", ROWS[:1])
    hashes = [Files(str(path), ALL_SFT).resolved() for path in (first, second, third)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_real_instructions_load() -> None:
    root = Path(__file__).parents[2]
    shared = Path(os.environ.get("FARM_SHARED_DATA", root.parent / "shared" / "data"))
    path = shared / "instructions" / "instructions.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there (FARM_SHARED_DATA names its folder)")
    splits = Files(str(path), MIXED).load()
    assert sum(map(len, splits.values())) == 10_619
    assert len(splits["evaluation"]) > 800
