"""AlpacaEval's annotation rows at the file border, and files of judgments of either kind.

Inside, a preference is P(output_b is better); in these files it is 1 to 2, 1.5 a tie, 0 too, and
nothing where there is no verdict. output_1 is output_a.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from farm.data.annotations import annotation_row
from farm.data.files import read_table
from farm.data.records import make_pair
from farm.data.rows import RowError, instruction_of
from farm.errors import DataError
from farm.types import Judgment, Pair
from simulators.recorder import read_line

NO_VERDICT = "no verdict in the annotation file"


def read_judged(path: Path) -> Iterator[tuple[Pair, Judgment]]:
    """The pairs and judgments of a file, AlpacaEval's rows (json, jsonl, csv, parquet) or a
    recorder's lines. Raises DataError naming file and row."""
    for place, row in read_table(path):
        try:
            yield _judged(row)
        except (RowError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{place}: {error!r}. Right would be a row with `instruction`, `output_1`, "
                "`output_2` and `preference` from 1 to 2, or a line that "
                "simulators.recorder.Recorder wrote."
            ) from error


def _judged(row: Any) -> tuple[Pair, Judgment]:
    if isinstance(row, RowError):
        raise row
    return read_line(row) if "judgment" in row else judged_of(row)


def judged_of(row: Any) -> tuple[Pair, Judgment]:
    """The pair and the judgment of an AlpacaEval row. Raises RowError, KeyError, TypeError or
    ValueError."""
    pair = make_pair(instruction_of(row), str(row["output_1"]), str(row["output_2"]))
    preference = preference_of(row["preference"])
    return pair, Judgment(
        pair.id,
        preference,
        str(row.get("annotator") or "unnamed"),
        "ab",
        raw=row.get("raw_completion"),
        latency_s=row.get("time_per_example"),
        cost_usd=row.get("price_per_example"),
        error=None if preference is not None else NO_VERDICT,
    )


def preference_of(code: Any) -> float | None:
    """P(output_2 is better) of AlpacaEval's code. Raises ValueError outside 1..2 and 0."""
    if code is None or code == "" or (isinstance(code, float) and math.isnan(code)):
        return None
    value = float(code)
    if value == 0:
        return 0.5
    if not 1 <= value <= 2:
        raise ValueError(f"preference {code!r} is not between 1 and 2")
    return value - 1


def write_annotations(path: Path, judged: Sequence[tuple[Pair, Judgment]]) -> None:
    """AlpacaEval's annotations.json. Raises DataError where the file is there already."""
    if path.exists():
        raise DataError(f"{path} is there already: name another file.")
    rows = [annotation_row(pair, judgment) for pair, judgment in judged]
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    partial.replace(path)
