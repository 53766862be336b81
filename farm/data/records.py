"""Ids, pairing, orientation and storage of the records in `farm.types`."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from farm.types import Completion, Instruction, Judgment, Message, Pair, Usage

Row = TypeVar("Row")


def chunks(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """The rows in slices of `size`, the last one shorter."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _digest(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def instruction_id(messages: Iterable[Message]) -> str:
    """Hash of the messages alone."""
    return _digest([[m.role, m.content] for m in messages])


def make_instruction(
    messages: Iterable[Message],
    demonstration: str | None = None,
    category: str | None = None,
    source: str | None = None,
) -> Instruction:
    """An instruction with its id."""
    messages = tuple(messages)
    return Instruction(instruction_id(messages), messages, demonstration, category, source)


def user_instruction(
    text: str,
    demonstration: str | None = None,
    category: str | None = None,
    source: str | None = None,
) -> Instruction:
    """An instruction of a single user turn."""
    return make_instruction([Message("user", text)], demonstration, category, source)


def last_user_text(instruction: Instruction) -> str:
    """What the final user turn says."""
    return next(m.content for m in reversed(instruction.messages) if m.role == "user")


def pair_id(instruction: Instruction, output_a: str, output_b: str) -> str:
    """Hash of the messages and the unordered texts."""
    return _digest([instruction.id, *sorted([output_a, output_b])])


def make_pair(instruction: Instruction, output_a: str, output_b: str) -> Pair:
    """A pair with its id, in the given orientation."""
    return Pair(pair_id(instruction, output_a, output_b), instruction, output_a, output_b)


def turn_pair(pair: Pair) -> Pair:
    """The same pair the other way round."""
    return dataclasses.replace(pair, output_a=pair.output_b, output_b=pair.output_a)


def is_canonical(pair: Pair) -> bool:
    """Whether the text that sorts first is a."""
    return pair.output_a <= pair.output_b


def turn_judgment(judgment: Judgment) -> Judgment:
    """The same verdict, on the pair turned round."""
    return dataclasses.replace(
        judgment,
        preference=None if judgment.preference is None else 1 - judgment.preference,
        order="ba" if judgment.order == "ab" else "ab",
        strength=None if judgment.strength is None else -judgment.strength,
        attributes=None
        if judgment.attributes is None
        else {name: (b, a) for name, (a, b) in judgment.attributes.items()},
        votes=None if judgment.votes is None else tuple(1 - vote for vote in judgment.votes),
    )


def tie(pair: Pair, annotator: str) -> Judgment:
    """The verdict on identical texts, which costs no call."""
    return Judgment(pair.id, 0.5, annotator, "ab")


def _write(rows: list[dict[str, Any]], path: Path, schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _read(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _instruction_schema() -> Any:
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    return pa.schema(
        [
            ("id", pa.string()),
            ("messages", pa.list_(message)),
            ("demonstration", pa.string()),
            ("category", pa.string()),
            ("source", pa.string()),
        ]
    )


def write_instructions(instructions: Sequence[Instruction], path: Path) -> None:
    """Instructions as parquet, one row each."""
    _write([dataclasses.asdict(i) for i in instructions], path, _instruction_schema())


def read_instructions(path: Path) -> list[Instruction]:
    """What `write_instructions` wrote."""
    return [
        Instruction(**{**row, "messages": tuple(Message(**m) for m in row["messages"])})
        for row in _read(path)
    ]


def write_completions(completions: Sequence[Completion], path: Path) -> None:
    """Completions as parquet, one row each."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("instruction_id", pa.string()),
            ("text", pa.string()),
            ("policy", pa.string()),
            ("sample", pa.int32()),
            ("stopped", pa.bool_()),
        ]
    )
    _write([dataclasses.asdict(c) for c in completions], path, schema)


def read_completions(path: Path) -> list[Completion]:
    """What `write_completions` wrote."""
    return [Completion(**row) for row in _read(path)]


def write_judgments(judgments: Sequence[Judgment], path: Path) -> None:
    """Judgments as parquet, one row each; attributes and usage as JSON text."""
    import pyarrow as pa

    types = {
        "preference": pa.float64(),
        "draw": pa.int32(),
        "strength": pa.float64(),
        "cost_usd": pa.float64(),
        "latency_s": pa.float64(),
        "cached": pa.bool_(),
        "votes": pa.list_(pa.float64()),
        "noised": pa.bool_(),
    }
    names = [f.name for f in dataclasses.fields(Judgment)]
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    rows = []
    for judgment in judgments:
        row = {name: getattr(judgment, name) for name in names}
        if judgment.attributes is not None:
            row["attributes"] = json.dumps(dict(judgment.attributes))
        if judgment.usage is not None:
            row["usage"] = json.dumps(dataclasses.asdict(judgment.usage))
        rows.append(row)
    _write(rows, path, schema)


def read_judgments(path: Path) -> list[Judgment]:
    """What `write_judgments` wrote."""
    judgments = []
    for row in _read(path):
        if row["attributes"] is not None:
            pairs = json.loads(row["attributes"])
            row["attributes"] = {name: (a, b) for name, (a, b) in pairs.items()}
        if row["usage"] is not None:
            row["usage"] = Usage(**json.loads(row["usage"]))
        if row["votes"] is not None:
            row["votes"] = tuple(row["votes"])
        judgments.append(Judgment(**row))
    return judgments


def write_pairs(pairs: Sequence[Pair], path: Path) -> None:
    """Pairs as parquet, one row each; instructions by id alone."""
    import pyarrow as pa

    names = ("id", "instruction_id", "output_a", "output_b")
    rows = [
        dict(zip(names, (p.id, p.instruction.id, p.output_a, p.output_b), strict=True))
        for p in pairs
    ]
    _write(rows, path, pa.schema([(name, pa.string()) for name in names]))


def read_pairs(path: Path, instructions: Iterable[Instruction]) -> list[Pair]:
    """What `write_pairs` wrote, with their instructions put back."""
    by_id = {instruction.id: instruction for instruction in instructions}
    return [
        Pair(row["id"], by_id[row["instruction_id"]], row["output_a"], row["output_b"])
        for row in _read(path)
    ]
