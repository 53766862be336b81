"""Stage `reward`: a reward model from the judgments."""

import json
import shutil
from pathlib import Path
from typing import Any

from farm.artifacts import write_json
from farm.config import build
from farm.protocols import Scorer
from farm.stages.job import Job, policy_ref
from farm.stages.judgments import load_labels

STAGE_VERSION = 1  # see farm.builder.Step

_HERE = "{artifact}"


def run(job: Job) -> dict[str, Any]:
    """Fit the reward learner; the artefact says how to build the scorer, wherever it moves."""
    labels = load_labels(job.parents["judgments"], job.parents["instructions"])
    start = policy_ref(job.parents["start"], job.config["decoding"])
    scorer = build(job.config["reward"]).fit(start, labels, job.context())
    text = json.dumps(dict(scorer.config)).replace(str(job.work), _HERE)
    write_json(job.work / "scorer.json", json.loads(text))
    shutil.rmtree(job.work / "resume", ignore_errors=True)
    notes = {path.stem: json.loads(path.read_text()) for path in job.work.glob("*.json")}
    return {name: note for name, note in notes.items() if name != "scorer"}


def given(job: Job) -> dict[str, Any]:
    """Stage `reward` where the config names a scorer instead of a learner."""
    write_json(job.work / "scorer.json", job.config["reward"])
    return {}


def load_scorer(folder: Path) -> Scorer:
    """The scorer of the artefact."""
    text = (folder / "scorer.json").read_text().replace(_HERE, str(folder))
    scorer: Scorer = build(json.loads(text))
    return scorer
