"""Raw text from a file of one's own: jsonl, json, csv or parquet with a column of documents, or
plain text with an empty line between them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from farm.artifacts import content_hash
from farm.data.files import FILE_TYPES, read_table
from farm.data.rows import RowError
from farm.errors import ConfigError, DataError

PLAIN = ".txt"


class TextFile:
    """A `TextSource`: the documents of one file; `column` holds them where the file has columns,
    and other columns are not read.

    A relative path is seen from where the command runs. Raises ConfigError for a file of another
    type, and DataError with file and line (row in json and parquet) for a row without text.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})  # the content counts: `resolved`

    def __init__(self, path: str, column: str = "text") -> None:
        types = (*FILE_TYPES, PLAIN)
        if Path(path).suffix not in types:
            raise ConfigError(f"path={path}: the file must end in {', '.join(types)}.")
        self.path = Path(path)
        self.column = column

    def texts(self) -> list[str]:
        """The documents, in the file's order."""
        found = _paragraphs(self.path) if self.path.suffix == PLAIN else self._rows()
        if not found:
            raise DataError(f"{self.path} holds no text.")
        return found

    def resolved(self) -> Mapping[str, str]:
        """The content hash of the file."""
        return {"path": content_hash(self.path)}

    def _rows(self) -> list[str]:
        return [self._text(place, row) for place, row in read_table(self.path)]

    def _text(self, place: str, row: Any) -> str:
        if isinstance(row, RowError):
            raise DataError(f"{place}: {row}")
        if not isinstance(row, Mapping) or self.column not in row:
            found = ", ".join(map(str, row)) if isinstance(row, Mapping) else repr(row)
            raise DataError(f"{place}: it has {found}; right would be the key {self.column!r}.")
        text = row[self.column]
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{place}: `{self.column}` is {text!r}; it must be text.")
        return text


def _paragraphs(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8.") from error
    return [part.strip() for part in text.split("\n\n") if part.strip()]
