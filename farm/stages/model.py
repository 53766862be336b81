"""Stage `model`: the first policy, fresh or pretrained."""

from collections.abc import Sequence
from typing import Any

from farm.config import build
from farm.stages.instructions import TRAINING_SPLITS, load_split
from farm.stages.job import Job
from farm.stages.pointers import point_to_policy, policy_path
from farm.types import Instruction

STAGE_VERSION = 1  # see farm.builder.Step


def run(job: Job) -> dict[str, Any]:
    """Build the model source; a tokenizer trained here sees the training splits alone."""
    texts = [i for s in TRAINING_SPLITS for i in load_split(job.parents["instructions"], s)]
    folder = job.work / "policy"
    folder.mkdir(exist_ok=True)
    point_to_policy(job.work, build(job.config["model"]).build(texts, folder, seed=job.seed))
    _write_example(job, texts)
    return {}


def _write_example(job: Job, texts: Sequence[Instruction]) -> None:
    """The first demonstration as training would see it: what shows a wrong prompt format where the
    start is the model as it is."""
    from farm.models import chat
    from farm.models.load import load_tokenizer

    tokenizer = load_tokenizer(policy_path(job.work))
    for row in texts:
        if row.demonstration:
            example = chat.join(
                chat.prompt_ids(tokenizer, row.messages),
                chat.response_ids(tokenizer, row.demonstration),
            )
            (job.work / "example.txt").write_text(chat.describe(tokenizer, example) + "\n")
            break
