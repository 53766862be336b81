"""Stage `skills`: what a policy can do where it begins and at every checkpoint of its learning.

`items.parquet` has one row per step and instruction: step (0 is the start), instruction_id,
category, source, and score by the job's scorer. `steps.parquet` has one row per step: step,
text_loss (nats per token of the job's texts), bottom_update and top_update, how far the first and
the last blocks have moved (farm.evaluation.stability_gap.relative_updates).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.config import build
from farm.errors import ConfigError
from farm.evaluation.stability_gap import relative_updates
from farm.generation.best_of import sampler_of
from farm.protocols import FloatArray, TextSource
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.pointers import policy_path, policy_ref

if TYPE_CHECKING:
    import pandas as pd

STAGE_VERSION = 1  # see farm.builder.Step

_TOKENS_PER_BATCH = 16384


def run(job: Job) -> dict[str, Any]:
    """Answer, score and read with the start and all checkpoints."""
    import pandas as pd

    policies = list(_policies(job))
    items, moved = [], _Movement(policy_path(policies[0][1]), job.config["blocks"])
    steps = []
    for done, (step, folder) in enumerate(policies, start=1):
        items.append(_answers(job, folder).assign(step=step))
        steps.append({"step": step, **_readings(job, policy_path(folder), moved)})
        job.progress(done, len(policies))
    pd.concat(items, ignore_index=True).to_parquet(job.work / "items.parquet", index=False)
    pd.DataFrame(steps).to_parquet(job.work / "steps.parquet", index=False)
    return {"policies": len(policies)}


def _policies(job: Job) -> Iterator[tuple[int, Path]]:
    """(step, artefact), the start first; parents named by a number are checkpoints."""
    yield 0, job.parents["start"]
    for step in sorted(int(name) for name in job.parents if name.isdecimal()):
        yield step, job.parents[str(step)]


def _answers(job: Job, folder: Path) -> "pd.DataFrame":
    import pandas as pd

    config = job.config
    asked = load_split(job.parents["instructions"], config["split"], config["limit"])
    sampler = sampler_of(config["sampler"], policy_ref(folder, config["decoding"]))
    answers = sampler.sample(asked, n=1, seed=job.seed)
    items = pd.DataFrame(
        {
            "instruction_id": [instruction.id for instruction in asked],
            "category": [instruction.category for instruction in asked],
            "source": [instruction.source for instruction in asked],
            "score": build(config["scorer"]).score(asked, [answer.text for answer in answers]),
        }
    )
    check_scored(items)
    return items


def check_scored(items: "pd.DataFrame") -> None:
    """Raise ConfigError where no answer to any instruction of a source has a score."""
    scored = items["score"].notna().groupby(items["source"]).any()
    if unknown := scored.index[~scored].tolist():
        raise ConfigError(
            f"study.score: it knows no answer to the instructions from {', '.join(unknown)}. "
            "Choose a scorer that does."
        )


def _readings(job: Job, path: str, moved: "_Movement") -> dict[str, float]:
    from farm.models.chat import documents_ids
    from farm.models.load import load_policy, load_tokenizer

    source: TextSource = build(job.config["texts"])
    model = load_policy(path, job.device)
    longest = job.config["sampler"]["max_prompt_tokens"] + job.config["decoding"]["max_new_tokens"]
    documents = [ids[:longest] for ids in documents_ids(load_tokenizer(path), source.texts())]
    return {"text_loss": text_loss(model, documents), **moved.of(model)}


def text_loss(model: Any, documents: Sequence[Sequence[int]]) -> float:
    """Mean of -log p over all tokens of the documents but the first of each, in nats."""
    from farm.training.answer_logprobs import frozen_logprobs

    first, rest = [row[:1] for row in documents], [row[1:] for row in documents]
    logprobs_N = frozen_logprobs(model, first, rest, tokens_per_batch=_TOKENS_PER_BATCH)
    return -float(logprobs_N.double().sum()) / sum(map(len, rest))


class _Movement:
    """How far models have moved from the one at `path`, in `blocks` blocks at either end."""

    def __init__(self, path: str, blocks: int) -> None:
        from farm.models.load import load_policy

        self._start = _weights(load_policy(path, "cpu"))
        self._blocks = blocks

    def of(self, model: Any) -> Mapping[str, float]:
        updates = relative_updates(_weights(model), self._start)
        ends = {"bottom": updates[: self._blocks], "top": updates[-self._blocks :]}
        return {f"{end}_update": float(found.mean()) for end, found in ends.items()}


def _weights(model: Any) -> dict[str, FloatArray]:
    weights = model.state_dict().items()
    return {name: weight.detach().cpu().double().numpy() for name, weight in weights}
