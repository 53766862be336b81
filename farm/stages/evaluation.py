"""Stages that measure: the choice of the reference, and one policy's answers against it.

With `crossing` and `reward_quality` this is the only place that reads gold, and with `farm.run`'s
report the only one that reads the splits `validation` and `evaluation`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farm.config import build
from farm.data.records import make_pair, write_judgments
from farm.protocols import Annotator, ExactAnnotator, FloatArray
from farm.scorers.pooled import pooled_scores
from farm.scorers.stored import StoredScorer
from farm.seeds import derive
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.labelling import Hearing, accounts, caveats
from farm.stages.outputs import first_texts, load_completions
from farm.stages.pointers import policy_path, policy_ref
from farm.types import Instruction, Judgment, Pair

STAGE_VERSION = 3  # see farm.builder.Step

_CHUNK = 64
"""Answers that models read or sample between two signs of life."""


def choose_reference(job: Job) -> dict[str, Any]:
    """Stage `reference`: the start's best temperature by noise-free pool preference against its
    temperature-1 self (DESIGN: one frozen reference). Ties go to the lowest temperature."""
    from farm.evaluation.selection import best_temperature

    instructions = _instructions(job)
    baseline = first_texts(job.parents["temperature 1"], instructions)
    annotator = build(job.config["annotator"])
    judging = Judging(job)
    preferences = {}
    for temperature in job.config["temperatures"]:
        texts = first_texts(job.parents[f"temperature {temperature:g}"], instructions)
        pairs = reference_pairs(instructions, baseline, texts)
        noise_free = judging.noise_free(annotator, pairs, f"temperature {temperature:g}")
        preferences[float(temperature)] = 100 * float(np.nanmean(noise_free))
    return {
        "temperature": best_temperature(preferences),
        "pool_preference_over_temperature_1": {f"{t:g}": p for t, p in preferences.items()},
        **judging.results,
    }


def evaluate(job: Job) -> dict[str, Any]:
    """Stage `evaluation`: `items.parquet`, one row per instruction (farm.evaluation.summary)."""
    import pandas as pd

    instructions = _instructions(job)
    references = first_texts(job.parents["reference"], instructions)
    texts = first_texts(job.parents["outputs"], instructions)
    pairs = reference_pairs(instructions, references, texts)
    stopped = {c.instruction_id: c.stopped for c in load_completions(job.parents["outputs"])}
    annotator, judge = job.config["annotator"], job.config["judge"]
    clean = build(annotator)
    judging = Judging(job)
    items = {
        "instruction_id": [i.id for i in instructions],
        "category": [i.category for i in instructions],
        "output": texts,
        "stopped": [stopped[i.id] for i in instructions],
        "preference": judging.verdicts(clean, pairs, "clean"),
        "expectation": _expectation(clean, pairs),
        "held_out": judging.noise_free(build(judge), pairs, "held_out")
        if judge
        else nothing(pairs),
        "gold": gold_scores(job.config["gold"], instructions, texts),
        "gold_reference": gold_scores(job.config["gold"], instructions, references),
        "proxy": proxy_scores(job, instructions, texts),
        "proxy_reference": proxy_scores(job, instructions, references),
        "length": [len(text) for text in texts],
        "length_reference": [len(text) for text in references],
        "kl": answers_kl(job, instructions),
    }
    pd.DataFrame(items).to_parquet(job.work / "items.parquet", index=False)
    return judging.results


def load_items(folder: Path) -> Any:
    """The DataFrame of an evaluation."""
    import pandas as pd

    return pd.read_parquet(folder / "items.parquet")


def _instructions(job: Job) -> list[Instruction]:
    return load_split(job.parents["instructions"], job.config["split"], job.config["limit"])


def reference_pairs(
    instructions: Sequence[Instruction], references: Sequence[str], texts: Sequence[str]
) -> list[Pair]:
    """The texts against the references, which are output_a as always in evaluation."""
    return [make_pair(*row) for row in zip(instructions, references, texts, strict=True)]


def nothing(rows: Sequence[object]) -> FloatArray:
    """NaN for each row."""
    return np.full(len(rows), np.nan)


def verdict_seed(seed: int) -> int:
    """Of the judges' verdicts in a job with this seed."""
    return derive(seed, "verdict")


class Judging:
    """Asks the judges of a job, keeps their judgments beside the figures, and their accounts."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._judgments: list[Judgment] = []
        self._notes: list[str] = []

    def verdicts(self, annotator: Annotator, pairs: Sequence[Pair], name: str) -> FloatArray:
        """Preferences [N], NaN where there is no verdict."""
        hearing = Hearing(self._job, len(pairs))
        judgments = hearing.annotate(annotator, pairs, verdict_seed(self._job.seed))
        write_judgments(judgments, self._job.work / f"judgments {name}.parquet")
        self._judgments += judgments
        self._notes += hearing.notes
        return np.array([np.nan if j.preference is None else j.preference for j in judgments])

    def noise_free(self, annotator: Annotator, pairs: Sequence[Pair], name: str) -> FloatArray:
        """The exact expectation where the judge is a program, else its verdicts."""
        if isinstance(annotator, ExactAnnotator):
            return annotator.expectation(pairs)
        return self.verdicts(annotator, pairs, name)

    @property
    def results(self) -> dict[str, Any]:
        """Accounts and notes, for the manifest."""
        notes = [*self._notes, *caveats(self._judgments)]
        return {**accounts(self._judgments), "notes": notes}


def _expectation(annotator: object, pairs: Sequence[Pair]) -> FloatArray:
    if isinstance(annotator, ExactAnnotator):
        return annotator.expectation(pairs)
    return nothing(pairs)


def gold_scores(
    config: Mapping[str, Any] | None, instructions: Sequence[Instruction], texts: Sequence[str]
) -> FloatArray:
    """True utility [N] by the scorer of a config node; NaN where there is none."""
    if config is None:
        return nothing(texts)
    scores: FloatArray = build(config).score(instructions, texts)
    return scores


def proxy_scores(job: Job, instructions: Sequence[Instruction], texts: Sequence[str]) -> FloatArray:
    """Scores [N] by the job's reward; NaN where it has none."""
    if "reward" not in job.parents:
        return nothing(texts)
    scorer = StoredScorer(str(job.parents["reward"]))
    return pooled_scores(
        scorer, job.scorers, instructions, texts, lambda done: job.progress(done, len(texts))
    )


def _chunks(count: int) -> Iterator[slice]:
    """Rows between two signs of life."""
    return (slice(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK))


def answers_kl(job: Job, instructions: Sequence[Instruction]) -> FloatArray:
    """KL(policy || start) per answer in nats on samples at temperature 1, exact per token; for
    the first `kl_instructions` instructions, NaN for the others, and for all where the policy is
    not `plain`."""
    kl = nothing(instructions)
    if "policy" not in job.parents:
        return kl
    from farm.generation.logprobs import answer_kl
    from farm.generation.sampler import draw_one
    from farm.models.load import load_policy

    chosen = instructions[: job.config["kl_instructions"]]
    decoding = {"temperature": 1.0, "max_new_tokens": job.config["decoding"]["max_new_tokens"]}
    policy = policy_ref(job.parents["policy"], decoding)
    if not policy.plain:
        return kl
    sampler = build(job.config["sampler"])(policy=policy)
    learned = load_policy(policy.path, job.device)
    start = load_policy(policy_path(job.parents["start"]), job.device)
    for rows in _chunks(len(chosen)):
        drawn = draw_one(
            sampler,
            policy,
            chosen[rows],
            max_prompt_tokens=job.config["sampler"]["max_prompt_tokens"],
            seed=derive(job.seed, "kl"),
        )
        kl[rows] = answer_kl(learned, start, drawn.prompts, drawn.responses)
        job.progress(rows.stop, len(chosen))
    return kl
