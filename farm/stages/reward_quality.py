"""Stages that measure a reward, learned or given: on pairs of the start's answers, and on a file of
chosen and rejected answers. Instructions are those of a split that no training sees.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from farm.config import build
from farm.data.records import chunks, make_pair
from farm.data.reward_bench import read_reward_bench
from farm.protocols import FloatArray
from farm.stages.evaluation import Judging, gold_scores, proxy_scores
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.outputs import load_completions
from farm.types import Pair

STAGE_VERSION = 1  # see farm.builder.Step


def run(job: Job) -> dict[str, Any]:
    """Stage `reward_quality`: `items.parquet`, one row per pair of answers, equal texts left
    out: instruction_id, category, score_a, score_b, length_a, length_b (characters); `clean` and
    `noisy`, P(output_b is better) by the annotators without noise, exact where they are programs,
    and by those who label for training; `gold`, utility of b minus that of a. NaN where a column
    does not apply."""
    config = job.config
    drawn = _drawn(job)
    pairs = [pair for pair in drawn if pair.output_a != pair.output_b]
    scores = _scores(job, pairs)  # first, since annotators may be paid for
    judging = Judging(job)
    items = {
        **_about(pairs),
        **scores,
        "length_a": [len(pair.output_a) for pair in pairs],
        "length_b": [len(pair.output_b) for pair in pairs],
        "clean": judging.noise_free(build(config["clean"]), pairs, "clean"),
        "noisy": judging.verdicts(build(config["noisy"]), pairs, "noisy"),
        "gold": _gold_gains(config["gold"], pairs),
    }
    found, results = _written(items, job), judging.results
    notes = [*results["notes"], *found["notes"]]
    return {**results, **found, "identical": len(drawn) - len(pairs), "notes": notes}


def bench(job: Job) -> dict[str, Any]:
    """Stage `reward_bench`: `items.parquet`, one row per pair of the file: instruction_id,
    category, score_a, score_b and preference, 1 where b is the chosen answer and 0 where a is."""
    labels = read_reward_bench(Path(job.config["path"]))
    pairs = [label.pair for label in labels]
    preference = [label.judgment.preference for label in labels]
    return _written({**_about(pairs), **_scores(job, pairs), "preference": preference}, job)


def _drawn(job: Job) -> list[Pair]:
    """The two answers to each instruction."""
    config = job.config
    split = load_split(job.parents["instructions"], config["split"], config["limit"])
    by_id = {instruction.id: instruction for instruction in split}
    return [
        make_pair(by_id[one.instruction_id], one.text, other.text)
        for one, other in chunks(load_completions(job.parents["outputs"]), 2)
    ]


def _about(pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        "instruction_id": [pair.instruction.id for pair in pairs],
        "category": [pair.instruction.category for pair in pairs],
    }


def _scores(job: Job, pairs: Sequence[Pair]) -> dict[str, FloatArray]:
    instructions = [pair.instruction for pair in pairs]
    texts = [pair.output_a for pair in pairs] + [pair.output_b for pair in pairs]
    score_a, score_b = np.split(proxy_scores(job, instructions * 2, texts), 2)
    return {"score_a": score_a, "score_b": score_b}


def _gold_gains(config: Mapping[str, Any] | None, pairs: Sequence[Pair]) -> FloatArray:
    instructions = [pair.instruction for pair in pairs]
    a, b = (
        gold_scores(config, instructions, texts)
        for texts in ([pair.output_a for pair in pairs], [pair.output_b for pair in pairs])
    )
    return b - a


def _written(items: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Write the items; how many there are, and how many of them lack a score."""
    import pandas as pd

    frame = pd.DataFrame(items)
    frame.to_parquet(job.work / "items.parquet", index=False)
    unscored = int(frame[["score_a", "score_b"]].isna().any(axis=1).sum())
    note = f"{unscored} of {len(frame)} pairs have an answer without a score and are left out."
    return {"pairs": len(frame), "unscored": unscored, "notes": [note] if unscored else []}
