"""Stage `crossing`: a policy's answers, one or many to an instruction, judged by many evaluators.

`items.parquet` has one row per answer: instruction_id, category, sample, length, length_reference
(characters), gold, gold_reference, proxy, proxy_reference, kl (nats), and for every evaluator NAME
a column `by NAME`: P(the answer is better than the reference's), exact where the evaluator is a
program. NaN where a column does not apply.
"""

from collections.abc import Sequence
from typing import Any

from farm.config import build
from farm.stages.evaluation import (
    Judging,
    answers_kl,
    gold_scores,
    nothing,
    proxy_scores,
    reference_pairs,
)
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.outputs import first_texts, load_completions
from farm.types import Completion, Instruction

STAGE_VERSION = 1  # see farm.builder.Step

JUDGED = "by "
"""Before an evaluator's name, the name of its column."""


def run(job: Job) -> dict[str, Any]:
    """Judge and score every answer."""
    import pandas as pd

    config = job.config
    split = load_split(job.parents["instructions"], config["split"], config["limit"])
    reference_of = dict(
        zip((i.id for i in split), first_texts(job.parents["reference"], split), strict=True)
    )
    completions, asked = _answers(job, split)
    texts = [completion.text for completion in completions]
    references = [reference_of[instruction.id] for instruction in asked]
    pairs = reference_pairs(asked, references, texts)
    judging = Judging(job)
    items = {
        "instruction_id": [instruction.id for instruction in asked],
        "category": [instruction.category for instruction in asked],
        "sample": [completion.sample for completion in completions],
        "length": [len(text) for text in texts],
        "length_reference": [len(text) for text in references],
        "gold": gold_scores(config["gold"], asked, texts),
        "gold_reference": gold_scores(config["gold"], asked, references),
        "proxy": proxy_scores(job, asked, texts),
        "proxy_reference": proxy_scores(job, asked, references),
        "kl": answers_kl(job, split) if len(split) == len(asked) else nothing(asked),
    }
    for name, node in config["evaluators"].items():
        items[f"{JUDGED}{name}"] = judging.noise_free(build(node), pairs, name)
    pd.DataFrame(items).to_parquet(job.work / "items.parquet", index=False)
    return judging.results


def _answers(job: Job, split: Sequence[Instruction]) -> tuple[list[Completion], list[Instruction]]:
    """Every answer with its instruction, in the split's order."""
    by_id: dict[str, list[Completion]] = {instruction.id: [] for instruction in split}
    for completion in load_completions(job.parents["outputs"]):
        by_id[completion.instruction_id].append(completion)
    completions = [completion for answers in by_id.values() for completion in answers]
    asked = [instruction for instruction in split for _ in by_id[instruction.id]]
    return completions, asked
