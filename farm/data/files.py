"""Instructions from a file of one's own: jsonl, json, csv or parquet."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from farm.data.rows import RowError, instruction_of
from farm.data.splits import check_ratios, split_by_hash
from farm.errors import ConfigError, DataError
from farm.types import Instruction, SplitName

Rows = Iterator[tuple[int, Any]]
"""(line or row number from 1, row); the row is a RowError where it could not be read."""


class Files:
    """An `InstructionSource`: the rows of one file (`farm.data.rows`), split by hash.

    `ratios` has a share for each split; `limit` reads only the file's first rows. A malformed row
    raises DataError with file and line (jsonl, csv) or row (json, parquet), or is skipped;
    then `notes` says how many were.
    """

    stage_version: ClassVar[int] = 4
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})  # the content counts: `resolved`

    def __init__(
        self,
        path: str,
        ratios: Mapping[str, float],
        on_bad_row: Literal["raise", "skip"] = "raise",
        limit: int | None = None,
    ) -> None:
        if on_bad_row not in ("raise", "skip"):
            raise ConfigError(f"data.on_bad_row={on_bad_row}: must be raise or skip.")
        if limit is not None and limit < 1:
            raise ConfigError(f"data.limit={limit}: must be at least 1, or null for all rows.")
        if Path(path).suffix not in _READERS:
            raise ConfigError(f"data.path={path}: the file must end in {', '.join(_READERS)}.")
        check_ratios(ratios)
        self.path = Path(path)
        self.ratios = ratios
        self.on_bad_row = on_bad_row
        self.limit = limit
        self.notes: list[str] = []

    def load(self) -> dict[SplitName, list[Instruction]]:
        """All five splits. Raises DataError."""
        instructions, bad = read_file(self.path, limit=self.limit)
        if bad and self.on_bad_row == "raise":
            raise DataError(f"{bad[0]} data.on_bad_row=skip leaves such rows out.")
        if bad:
            self.notes = [f"{len(bad)} malformed rows skipped; the first: {bad[0]}"]
        return split_by_hash(instructions, self.ratios)

    def resolved(self) -> dict[str, str]:
        """The content hash of the file."""
        return {"path": f"sha256:{hashlib.sha256(_existing(self.path).read_bytes()).hexdigest()}"}


def read_rows(path: Path) -> list[Instruction]:
    """The instructions of a file without malformed rows. Raises DataError."""
    instructions, bad = read_file(path)
    if bad:
        raise DataError(bad[0])
    return instructions


def read_file(path: Path, *, limit: int | None = None) -> tuple[list[Instruction], list[str]]:
    """The instructions of a file, and what is wrong with each malformed row.

    Raises DataError where the file as a whole cannot be read.
    """
    instructions, bad = [], []
    for place, row in islice(read_table(path), limit):
        try:
            instructions.append(_instruction(row))
        except RowError as error:
            bad.append(f"{place}: {error}")
    return instructions, bad


def read_table(path: Path) -> Iterator[tuple[str, Any]]:
    """(its place for error messages, row) of each row of a jsonl, json, csv or parquet file; a row
    that cannot be read is a RowError. Raises DataError where the file as a whole cannot be."""
    if path.suffix not in _READERS:
        raise DataError(f"{path}: the file must end in {', '.join(_READERS)}.")
    unit, reader = _READERS[path.suffix]
    try:
        for number, row in reader(_existing(path)):
            yield f"{path}, {unit} {number}", row
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8.") from error


def _instruction(row: Any) -> Instruction:
    if isinstance(row, RowError):
        raise row
    return instruction_of(row)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file. Give its path as it is seen from here.")
    return path


def _jsonl(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                yield number, RowError(f"no JSON ({error}); right would be one object a line.")


def _json(path: Path) -> Rows:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: no JSON ({error.msg}). Right "
            "would be one list of objects; a file with an object a line must end in .jsonl."
        ) from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds {type(rows).__name__}; right would be a list of objects.")
    yield from enumerate(rows, start=1)


def _csv(path: Path) -> Rows:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                yield reader.line_num, _complete(row, reader.fieldnames or ())
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: no CSV ({error}).") from error


def _complete(row: Mapping[Any, Any], names: Sequence[str]) -> Any:
    if None in row or None in row.values():
        return RowError(f"it does not have the header's {len(names)} fields ({', '.join(names)}).")
    return row


def _parquet(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is no parquet file: {error}") from error
    yield from enumerate(table.to_pylist(), start=1)


_READERS: Mapping[str, tuple[str, Callable[[Path], Rows]]] = {
    ".jsonl": ("line", _jsonl),
    ".json": ("row", _json),
    ".csv": ("line", _csv),
    ".parquet": ("row", _parquet),
}

FILE_TYPES = tuple(_READERS)
"""Endings of the files that are read here."""
