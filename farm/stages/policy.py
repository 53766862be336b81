"""Stage `policy`: one learner's `fit`, SFT included, and its checkpoints."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from farm.config import build
from farm.context import read_notes
from farm.protocols import Annotator, Learner, Scorer
from farm.scorers.stored import StoredScorer
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.judgments import load_labels
from farm.stages.pointers import point_to_policy, policy_ref
from farm.training.compute import metering, spent
from farm.types import Inputs, Instruction, LabeledPair, Need, PolicyRef

STAGE_VERSION = 1  # see farm.builder.Step

POLICY = "policy "
"""Begins the names of parents that a learner names; their number, from 0, ends them."""


def run(job: Job) -> dict[str, Any]:
    """Fit the learner on what it needs and nothing else."""
    learner: Learner = build(job.config["learner"])
    start = policy_ref(job.parents["start"], job.config["decoding"])
    with metering(job.work, job.ranks.rank):
        policy = learner.fit(start, _inputs(learner.needs, job), job.context())
    return job.ranks.once(lambda: _finish(policy, job))


def _finish(policy: PolicyRef, job: Job) -> dict[str, Any]:
    point_to_policy(job.work, policy.path, policy.best_of, policy.decoding.control)
    shutil.rmtree(job.work / "resume", ignore_errors=True)
    index = job.work / "checkpoints.json"
    checkpoints = json.loads(index.read_text()) if index.exists() else {}
    return {"checkpoints": checkpoints, "notes": read_notes(job.work), **spent(job.work)}


def _inputs(needs: frozenset[Need], job: Job) -> Inputs:
    load: dict[Need, Callable[[Job], object]] = {
        "instructions": _instructions,
        "demonstrations": _demonstrations,
        "judgments": _judgments,
        "reward": _reward,
        "annotator": _annotator,
        "text": _text,
        "draft": _draft,
        "policies": _policies,
    }
    return Inputs(**{need: load[need](job) for need in needs})  # type: ignore[arg-type]


def _instructions(job: Job) -> list[Instruction]:
    return load_split(job.parents["instructions"], "unlabeled")


def _demonstrations(job: Job) -> list[Instruction]:
    rows = load_split(job.parents["instructions"], job.config["demonstrations"])
    return [row for row in rows if row.demonstration is not None]


def _judgments(job: Job) -> list[LabeledPair]:
    return load_labels(job.parents["judgments"], job.parents["instructions"])


def _reward(job: Job) -> Scorer:
    return StoredScorer(str(job.parents["reward"]))


def _annotator(job: Job) -> Annotator:
    annotator: Annotator = build(job.config["annotator"])
    return annotator


def _text(job: Job) -> list[str]:
    return [row.demonstration for row in _demonstrations(job) if row.demonstration is not None]


def _draft(job: Job) -> PolicyRef:
    return policy_ref(job.parents["draft"], job.config["decoding"])


def _policies(job: Job) -> list[PolicyRef]:
    """In the order in which the learner names them."""
    numbered = [name for name in job.parents if name.startswith(POLICY)]
    return [
        policy_ref(job.parents[f"{POLICY}{number}"], job.config["decoding"])
        for number in range(len(numbered))
    ]


def training_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines that the learner logged, in order of their steps."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
