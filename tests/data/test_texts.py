"""Raw text from files, and what is said of a bad one."""

import json
from pathlib import Path

import pandas as pd
import pytest

from farm.data.texts import TextFile
from farm.errors import ConfigError, DataError

TEXTS = ["the first\nof two lines", "a second"]


def test_plain_text_has_an_empty_line_between_documents(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\n\nthe first\nof two lines\n\n\n\na second\n")
    assert TextFile(str(file)).texts() == TEXTS


def test_tables_have_a_column_of_documents(tmp_path: Path) -> None:
    rows = [{"body": text, "other": 1} for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert TextFile(str(tmp_path / name), column="body").texts() == TEXTS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"body": "x"}', "it has body; right would be the key 'text'"),
        ('{"text": 3}', "`text` is 3; it must be text"),
        ('{"text": " "}', "it must be text"),
        ("no json", "no JSON"),
    ],
)
def test_a_bad_row_is_named_with_its_line(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: .*" + said):
        TextFile(str(file)).texts()


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in .*\.txt"):
        TextFile("texts.doc")
    with pytest.raises(DataError, match="there is no such file"):
        TextFile(str(tmp_path / "none.txt")).texts()
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match="holds no text"):
        TextFile(str(tmp_path / "empty.txt")).texts()
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        TextFile(str(tmp_path / "latin.txt")).texts()


def test_its_content_counts_and_not_its_place(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("hay")
    other.write_text("hay")
    assert TextFile(str(one)).resolved() == TextFile(str(other)).resolved()
    other.write_text("oats")
    assert TextFile(str(one)).resolved() != TextFile(str(other)).resolved()
