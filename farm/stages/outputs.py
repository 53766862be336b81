"""Stages that make answers: sampled from a policy, chosen among samples, or read from a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farm.config import build
from farm.data.records import chunks, last_user_text, read_completions, write_completions
from farm.errors import DataError
from farm.stages.instructions import load_split
from farm.stages.job import Job, policy_ref
from farm.types import Completion, Instruction

STAGE_VERSION = 1  # see farm.builder.Step

_CHUNK = 2048


def sample(job: Job) -> dict[str, Any]:
    """Stage `outputs`: `n` answers to each instruction of a split."""
    instructions = load_split(job.parents["instructions"], job.config["split"], job.config["limit"])
    policy = policy_ref(job.parents["policy"], job.config["decoding"])
    sampler = build(job.config["sampler"])(policy=policy)
    completions: list[Completion] = []
    for chunk in chunks(instructions, _CHUNK):
        completions += sampler.sample(chunk, n=job.config["n"], seed=job.seed)
        job.progress(len(completions), len(instructions) * job.config["n"])
    write_completions(completions, job.work / "completions.parquet")
    return {"completions": len(completions)}


def longest(job: Job) -> dict[str, Any]:
    """Stage `longest`: the longest of each instruction's answers, as a control."""
    by_instruction: dict[str, list[Completion]] = {}
    for completion in load_completions(job.parents["outputs"]):
        by_instruction.setdefault(completion.instruction_id, []).append(completion)
    chosen = [max(c, key=lambda one: len(one.text)) for c in by_instruction.values()]
    write_completions(chosen, job.work / "completions.parquet")
    return {"completions": len(chosen)}


def load_completions(folder: Path) -> list[Completion]:
    """The completions of an artefact, those of one instruction contiguous."""
    return read_completions(folder / "completions.parquet")


def first_texts(folder: Path, instructions: Sequence[Instruction]) -> list[str]:
    """The first answer to each of the instructions, in their order."""
    texts: dict[str, str] = {}
    for completion in load_completions(folder):
        texts.setdefault(completion.instruction_id, completion.text)
    return [texts[instruction.id] for instruction in instructions]


def from_file(job: Job) -> dict[str, Any]:
    """Stage `outputs` where somebody else's answers stand in: rows with `instruction`, `input`
    and `output` (AlpacaEval's format) or `messages` and `output`."""
    instructions = load_split(job.parents["instructions"], job.config["split"], job.config["limit"])
    from farm.data.files import read_rows

    path = Path(job.config["path"])
    given = {row.id: row.demonstration for row in read_rows(path)}
    missing = [i for i in instructions if given.get(i.id) is None]
    if missing:
        raise DataError(
            f"{path}: no output for {len(missing)} of {len(instructions)} instructions of "
            f"{job.config['split']}; the first is {last_user_text(missing[0])!r}. A file that "
            "evaluation.reference names must answer `validation` and `evaluation`."
        )
    write_completions(
        [Completion(i.id, str(given[i.id]), path.name, 0, stopped=True) for i in instructions],
        job.work / "completions.parquet",
    )
    return {"completions": len(instructions)}
