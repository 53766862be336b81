"""Stages of speculative sampling: a head that is given, and what rules take, measured."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from farm.config import build
from farm.errors import ConfigError
from farm.evaluation.speculation import auroc, calibration_error, reliability, same_law
from farm.generation.stop_rules import HEAD
from farm.seeds import derive
from farm.stages.instructions import load_split
from farm.stages.job import Job
from farm.stages.pointers import policy_ref

if TYPE_CHECKING:
    import pandas as pd

    from farm.generation.speculative import Speculated

STAGE_VERSION = 2  # see farm.builder.Step


def given_head(job: Job) -> dict[str, Any]:
    """Stage `head`: a copy of the acceptance head in a directory."""
    from farm.models.acceptance import load_head

    path = Path(job.config["path"])
    try:
        load_head(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(
            f"decoding.head={path}: no acceptance head can be read there ({error}). Right would be "
            f"the folder `{HEAD}` of what method=acceptance_head made, in runs/store/policy/KEY."
        ) from error
    shutil.copytree(path, job.work / HEAD, dirs_exist_ok=True)
    return {}


def measure(job: Job) -> dict[str, Any]:
    """Stage `speculation`: the policy answers a split once in each of `ways`, nodes of the group
    `decoding`, and once token by token.

    `settings.parquet` has a row for each way: sums over answers (generated, drafted, discarded,
    rejected, verified), how well its rule foresees acceptance (auroc, calibration_error, brier,
    acceptance; NaN where it does not try), p_value (see `_third`) and seconds (wall_s,
    plain_wall_s).
    `bins.parquet` is the last way's `farm.evaluation.speculation.reliability`.
    """
    import pandas as pd

    instructions = load_split(job.parents["instructions"], job.config["split"], job.config["limit"])
    policy = policy_ref(job.parents["policy"], job.config["decoding"])
    sampler = build(job.config["sampler"])(policy=policy)
    sampler.draw(instructions[:1], n=1, seed=job.seed)  # loads the model, whose time is not meant
    began = time.monotonic()
    plain = sampler.draw(instructions, n=1, seed=derive(job.seed, "plain"))
    plain_wall_s = time.monotonic() - began
    rows, ways = [], job.config["ways"]
    for number, way in enumerate(ways, 1):
        speculation = build(way).speculation(job.parents)
        sampler = build(job.config["sampler"])(policy=replace(policy, speculation=speculation))
        sampler.speculate(instructions[:1], n=1, seed=job.seed)
        began = time.monotonic()
        found = sampler.speculate(instructions, n=1, seed=job.seed)
        wall_s = time.monotonic() - began
        estimates, bins = _foreseen(found)
        thirds = [_third(answers) for answers in (plain.responses, found.rollouts.responses())]
        times = {"wall_s": wall_s, "plain_wall_s": plain_wall_s}
        rows.append({**_sums(found), **estimates, "p_value": same_law(*thirds), **times})
        job.progress(number, len(ways))
    pd.DataFrame(rows).to_parquet(job.work / "settings.parquet", index=False)
    bins.to_parquet(job.work / "bins.parquet", index=False)
    return {"answers": len(instructions)}


def _sums(found: "Speculated") -> dict[str, int]:
    counts = {
        "generated": found.rollouts.mask_B_T,
        "drafted": found.drafted_B,
        "discarded": found.discarded_B,
        "rejected": found.rejected_B,
        "verified": found.verified_B,
    }
    return {name: int(count.sum()) for name, count in counts.items()}


def _foreseen(found: "Speculated") -> tuple[dict[str, float], "pd.DataFrame"]:
    import torch

    tested_3_N = torch.cat(found.tested, dim=1).double().numpy()
    estimate_N, _, accepted_N = tested_3_N[:, ~np.isnan(tested_3_N[0])]
    bins = reliability(estimate_N, accepted_N > 0)
    brier = float(np.mean((estimate_N - accepted_N) ** 2)) if len(estimate_N) else float("nan")
    figures = {
        "auroc": auroc(estimate_N, accepted_N > 0),
        "calibration_error": calibration_error(bins),
        "brier": brier,
        "acceptance": float(tested_3_N[1].mean()),
    }
    return figures, bins


def _third(answers: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The third token of each answer, -1 where it has ended: independent between answers, and late
    enough that the draft has proposed it."""
    return np.array([answer[2] if len(answer) > 2 else -1 for answer in answers])
