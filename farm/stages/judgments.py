"""Stage `judgments`: pairs of a policy's answers, labelled by the training annotators."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farm.config import build
from farm.data.records import (
    chunks,
    is_canonical,
    make_pair,
    read_judgments,
    read_pairs,
    turn_pair,
    write_judgments,
    write_pairs,
)
from farm.errors import DataError
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.labelling import Hearing, accounts, caveats
from farm.stages.outputs import load_completions
from farm.types import Judgment, LabeledPair, Pair

STAGE_VERSION = 3  # see farm.builder.Step

_CHUNK = 50_000
"""As many as one file of OpenAI's Batch API holds; what LLM judges are asked within a chunk is kept
by their cache."""


def run(job: Job) -> dict[str, Any]:
    """Label all pairs chunk by chunk; chunks that are already there are not asked for again."""
    annotator = build(job.config["annotator"])
    pairs = pairs_of(job.parents["outputs"], job.parents["instructions"])
    hearing = Hearing(job, len(pairs))
    write_pairs(pairs, job.work / "pairs.parquet")
    for number, chunk in enumerate(chunks(pairs, _CHUNK)):
        path = job.work / f"judgments-{number:05d}.parquet"
        if not path.exists():
            judgments = hearing.annotate(annotator, chunk, job.seed)
            if number == 0:  # before more is paid for
                _check_verdicts(judgments)
            partial = path.with_suffix(".tmp")
            write_judgments(judgments, partial)
            job.check_fence()
            partial.replace(path)
        hearing.done = min((number + 1) * _CHUNK, len(pairs))
    labels = [label.judgment for label in load_labels(job.work, job.parents["instructions"])]
    return {**accounts(labels), "notes": [*hearing.notes, *caveats(labels)]}


def _check_verdicts(judgments: Sequence[Judgment]) -> None:
    """Raise DataError where annotators that were asked gave no verdict at all; a noise wrapper's
    coins say nothing about them."""
    asked = [judgment for judgment in judgments if not judgment.noised]
    if asked and all(judgment.preference is None for judgment in asked):
        raise DataError(
            f"annotators.train has no verdict on any of {len(asked)} pairs; the first says: "
            f"{asked[0].error}. Choose annotators that can judge this data, such as "
            "annotators=demonstration_overlap for instructions with demonstrations."
        )


def load_labels(folder: Path, instructions: Path) -> list[LabeledPair]:
    """Pairs with their judgments, in canonical orientation."""
    pairs = read_pairs(folder / "pairs.parquet", load_split(instructions, "preference"))
    parts = sorted(folder.glob("judgments-*.parquet"))
    judgments = [judgment for part in parts for judgment in read_judgments(part)]
    return [LabeledPair(pair, judgment) for pair, judgment in zip(pairs, judgments, strict=True)]


def pairs_of(outputs: Path, instructions: Path) -> list[Pair]:
    """Consecutive samples of one instruction, two by two, in canonical orientation, each once."""
    by_id = {i.id: i for i in load_split(instructions, "preference")}
    pairs: dict[str, Pair] = {}
    for first, second in chunks(load_completions(outputs), 2):
        pair = make_pair(by_id[first.instruction_id], first.text, second.text)
        pairs.setdefault(pair.id, pair if is_canonical(pair) else turn_pair(pair))
    return list(pairs.values())
