"""Stage `model`: the first policy, fresh or pretrained."""

from typing import Any

from farm.config import build
from farm.stages.instructions import TRAINING_SPLITS, load_split
from farm.stages.job import Job, point_to_policy

STAGE_VERSION = 1  # see farm.builder.Step


def run(job: Job) -> dict[str, Any]:
    """Build the model source; a tokenizer trained here sees the training splits alone."""
    texts = [i for s in TRAINING_SPLITS for i in load_split(job.parents["instructions"], s)]
    folder = job.work / "policy"
    folder.mkdir(exist_ok=True)
    point_to_policy(job.work, build(job.config["model"]).build(texts, folder, seed=job.seed))
    return {}
