"""Stage `reward`: a reward model from the judgments."""

import json
import shutil
from typing import Any

from farm.config import build
from farm.scorers.stored import write_scorer
from farm.stages.job import Job
from farm.stages.judgments import load_labels
from farm.stages.pointers import policy_ref
from farm.training.compute import metering, spent
from farm.types import ScorerRef

STAGE_VERSION = 1  # see farm.builder.Step


def run(job: Job) -> dict[str, Any]:
    """Fit the reward learner; the artefact says how to build the scorer."""
    labels = load_labels(job.parents["judgments"], job.parents["instructions"])
    start = policy_ref(job.parents["start"], job.config["decoding"])
    with metering(job.work, job.ranks.rank):
        scorer = build(job.config["reward"]).fit(start, labels, job.context())
    return job.ranks.once(lambda: _finish(scorer, job))


def _finish(scorer: ScorerRef, job: Job) -> dict[str, Any]:
    write_scorer(scorer.config, job.work)
    shutil.rmtree(job.work / "resume", ignore_errors=True)
    notes = {path.stem: json.loads(path.read_text()) for path in job.work.glob("*.json")}
    return {**{name: note for name, note in notes.items() if name != "scorer"}, **spent(job.work)}


def given(job: Job) -> dict[str, Any]:
    """Stage `reward` where the config names a scorer instead of a learner."""
    write_scorer(job.config["reward"], job.work)
    return {}
