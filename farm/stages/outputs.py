"""Stages that make answers: sampled from a policy, chosen among samples, or read from a file."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from farm.config import build
from farm.data.records import chunks, last_user_text, read_completions, write_completions
from farm.errors import DataError
from farm.generation.best_of import sampler_of
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.pointers import policy_ref
from farm.types import Completion, Instruction

STAGE_VERSION = 1  # see farm.builder.Step

_CHUNK = 256
"""Answers that are sampled together: a worker that is killed loses no more, and shows progress as
often."""


def sample(job: Job) -> dict[str, Any]:
    """Stage `outputs`: `n` answers to each instruction of a split, chunk by chunk; chunks that are
    already there are not sampled again."""
    instructions = load_split(job.parents["instructions"], job.config["split"], job.config["limit"])
    policy = policy_ref(job.parents["policy"], job.config["decoding"])
    if "how" in job.config:
        policy = replace(policy, speculation=build(job.config["how"]).speculation(job.parents))
    sampler = sampler_of(job.config["sampler"], policy)
    n, parts = job.config["n"], job.work / "parts"
    drawn = n * (policy.best_of.n if policy.best_of else 1)
    parts.mkdir(exist_ok=True)
    asked = dict(enumerate(chunks(instructions, max(1, _CHUNK // drawn))))
    files = {number: parts / f"{number:05d}.parquet" for number in asked}
    missing = [number for number, path in files.items() if not path.exists()]
    draw = partial(sampler.sample, n=n, seed=job.seed)
    answers = job.samplers.map(draw, [asked[number] for number in missing])
    done = n * (len(instructions) - sum(len(asked[number]) for number in missing))
    for number, found in zip(missing, answers, strict=True):
        unfinished = files[number].with_suffix(".tmp")
        write_completions(found, unfinished)
        job.check_fence()
        unfinished.replace(files[number])
        done += len(found)
        job.progress(done, n * len(instructions))
    completions = [answer for path in files.values() for answer in read_completions(path)]
    write_completions(completions, job.work / "completions.parquet")
    shutil.rmtree(parts)
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
