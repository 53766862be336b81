"""Chosen and rejected answers become labelled pairs, whatever the file; bad rows are named."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from farm.data.records import is_canonical
from farm.data.reward_bench import SECTIONS, read_reward_bench
from farm.errors import DataError
from farm.types import Message

ROWS = [
    {
        "prompt": "Name a bird.",
        "chosen": "A wren.",
        "rejected": "«No»",
        "subset": "easy",
        "id": "1",
    },
    {"prompt": "Name a bird.", "chosen": "A rook.", "rejected": "", "subset": "hard", "id": "2"},
]


def write(path: Path, rows: list[Any]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_file_type_gives_the_same_pairs(suffix: str, tmp_path: Path) -> None:
    labels = read_reward_bench(write(tmp_path / f"rows{suffix}", ROWS))
    for (pair, judgment), row in zip(labels, ROWS, strict=True):
        assert is_canonical(pair) and judgment.pair_id == pair.id
        answers = (pair.output_a, pair.output_b)
        better = answers[int(judgment.preference or 0.0)]
        assert (better, sorted(answers)) == (
            row["chosen"],
            sorted([row["chosen"], row["rejected"]]),
        )
        assert pair.instruction.category == row["subset"]
        assert pair.instruction.messages == (Message("user", "Name a bird."),)
    assert labels[0].pair.instruction.id == labels[1].pair.instruction.id
    assert {judgment.preference for _, judgment in labels} == {0.0, 1.0}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_prompt_may_be_a_conversation(suffix: str, tmp_path: Path) -> None:
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Sum 1 2")]
    messages = [{"role": role, "content": content} for role, content in turns]
    (label,) = read_reward_bench(
        write(tmp_path / f"rows{suffix}", [{**ROWS[0], "prompt": messages}])
    )
    assert label.pair.instruction.messages == tuple(Message(*turn) for turn in turns)
    assert label.pair.instruction.category == "easy"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"chosen": None}, "`chosen` is None"),
        ({"rejected": "A wren."}, "the same text"),
        ({"prompt": "  "}, "`prompt` is empty"),
        ({"prompt": [{"role": "assistant", "content": "Hi"}]}, "the roles are"),
        ({"subset": 3}, "`subset` is 3"),
    ],
)
def test_bad_rows_are_named(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS[0], {**ROWS[1], **ROWS[0], **change}])
    with pytest.raises(DataError, match=f"rows.jsonl, line 2: .*{problem}"):
        read_reward_bench(path)


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"instruction": "Hi", "output": "Hello"}])
    with pytest.raises(DataError, match="line 1: it has instruction, output, but no `rejected`"):
        read_reward_bench(path)
    with pytest.raises(DataError, match="line 1: it is 3"):
        read_reward_bench(write(tmp_path / "numbers.jsonl", [3]))
    with pytest.raises(DataError, match="holds no row"):
        read_reward_bench(write(tmp_path / "empty.json", []))


def test_the_sections_are_the_benchmarks() -> None:
    """2,985 pairs; math-prm's 447 are weighted as all code together."""
    totals = {name: sum(parts.values()) for name, parts in SECTIONS.items()}
    code = totals["Reasoning"] - SECTIONS["Reasoning"]["math-prm"]
    assert SECTIONS["Reasoning"]["math-prm"] == code
    assert totals["Chat"] + totals["Chat Hard"] + totals["Safety"] + code + 447 == 2985
