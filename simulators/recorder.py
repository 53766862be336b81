"""Judgments kept in a file, and annotators that answer from one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from farm.artifacts import content_hash
from farm.data.files import read_table
from farm.data.records import is_canonical, make_instruction, make_pair, tie, turn_judgment
from farm.data.rows import RowError
from farm.errors import DataError
from farm.protocols import Annotator
from farm.types import Judgment, Message, Pair, Usage

RECORDED = "not among the recorded judgments"


class Recorder:
    """Passes pairs on and appends every judgment with its pair to a jsonl file, one line each:
    `{"pair": {"messages", "output_a", "output_b"}, "judgment": {...}}`."""

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})

    def __init__(self, *, annotator: Annotator, path: str) -> None:
        self._annotator = annotator
        self._path = Path(path)

    def unpaid(self) -> dict[str, str]:
        """What stands in this node's place in a dry run (`farm.config.unpaid`)."""
        return {"_target_": "simulators.recorder.Unrecorded"}

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The annotator's judgments."""
        judgments = self._annotator.annotate(pairs, seed=seed, draw=draw)
        write_lines(self._path, pairs, judgments)
        return judgments


class Unrecorded(Recorder):
    """A recorder that writes nothing."""

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The annotator's judgments."""
        return self._annotator.annotate(pairs, seed=seed, draw=draw)


def write_lines(path: Path, pairs: Sequence[Pair], judgments: Sequence[Judgment]) -> None:
    """Append judgments with their pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"pair": _pair_row(pair), "judgment": asdict(judgment)}, ensure_ascii=False)
        for pair, judgment in zip(pairs, judgments, strict=True)
    ]
    with path.open("a", encoding="utf-8") as file:  # in one write, so that lines stay whole
        file.write("".join(f"{line}\n" for line in lines))


def _pair_row(pair: Pair) -> dict[str, Any]:
    messages = [asdict(message) for message in pair.instruction.messages]
    return {"messages": messages, "output_a": pair.output_a, "output_b": pair.output_b}


def read_lines(path: Path) -> Iterator[tuple[Pair, Judgment]]:
    """What `write_lines` wrote. Raises DataError naming file and line."""
    for place, row in read_table(path):
        try:
            yield read_line(row)
        except (RowError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{place}: {error}. A line is an object with `pair` and `judgment`, as "
                "simulators.recorder.Recorder writes it."
            ) from error


def read_line(row: Any) -> tuple[Pair, Judgment]:
    """The pair and the judgment of one line. Raises KeyError, TypeError or ValueError."""
    messages = [Message(**message) for message in row["pair"]["messages"]]
    pair = make_pair(make_instruction(messages), row["pair"]["output_a"], row["pair"]["output_b"])
    known = {field.name for field in fields(Judgment)}
    values = {key: value for key, value in row["judgment"].items() if key in known}
    if values.get("usage") is not None:
        values["usage"] = Usage(**values["usage"])
    if values.get("votes") is not None:
        values["votes"] = tuple(values["votes"])
    if values.get("attributes") is not None:
        values["attributes"] = {name: (a, b) for name, (a, b) in values["attributes"].items()}
    return pair, Judgment(**{**values, "pair_id": pair.id})


class Recorded:
    """Answers from a file of judgments, the recorder's or AlpacaEval's annotations, whichever way
    round a pair turns up; who stands under `otherwise` is asked about the others, and where nobody
    does they get no verdict. A draw is answered by the file's judgment of that draw."""

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})

    def __init__(self, *, path: str, otherwise: Annotator | None = None) -> None:
        self._path = Path(path)
        self._otherwise = otherwise

    def resolved(self) -> dict[str, str]:
        """The content hash of the file."""
        return {"path": content_hash(self._path)}

    @cached_property
    def _known(self) -> Mapping[tuple[str, int], Judgment]:
        """In canonical orientation, by pair and draw."""
        from simulators.annotation_rows import read_judged

        return {
            (pair.id, judgment.draw): judgment if is_canonical(pair) else turn_judgment(judgment)
            for pair, judgment in read_judged(self._path)
        }

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Recorded judgments, marked as cached, and the other annotator's."""
        found = {
            index: self._recorded(pair, draw)
            for index, pair in enumerate(pairs)
            if (pair.id, draw) in self._known
        }
        asked = [index for index in range(len(pairs)) if index not in found]
        if self._otherwise is None:
            unknown = [_unknown(pairs[index], draw) for index in asked]
        else:
            unknown = self._otherwise.annotate([pairs[i] for i in asked], seed=seed, draw=draw)
        judgments = {**found, **dict(zip(asked, unknown, strict=True))}
        return [judgments[index] for index in range(len(pairs))]

    def _recorded(self, pair: Pair, draw: int) -> Judgment:
        judgment = self._known[pair.id, draw]
        return replace(judgment if is_canonical(pair) else turn_judgment(judgment), cached=True)


def _unknown(pair: Pair, draw: int) -> Judgment:
    if pair.output_a == pair.output_b:
        return tie(pair, "recorded")
    return Judgment(pair.id, None, "recorded", "ab", draw, error=RECORDED)
