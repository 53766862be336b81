"""Our side of `bench_ppo_throughput.py`: `python ppo_farm.py FOLDER VALUE RANKS`.

Writes one JSON line: wall seconds of each step, and the mean length of its answers.
"""

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from farm.context import Context, Follower
from farm.data.records import read_instructions
from farm.scorers.reward_model import RewardModelScorer
from farm.training.kl_control import FixedKL
from farm.training.ranks import Alone, Group
from farm.training.tuning import Full
from farm.types import Decoding, Inputs, PolicyRef
from methods.ppo import PPO
from methods.ppo_value import RewardModelCritic, TrunkValue


def main() -> None:
    """Train in as many processes as there are ranks, which share the cores."""
    folder, value, ranks = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if ranks == 1:
        train(folder, value, Path(tempfile.mkdtemp(dir=folder)), Alone())
    else:
        work = Path(tempfile.mkdtemp(dir=folder))
        spawn(train_in_group, (ranks, folder, value, work), nprocs=ranks)  # type: ignore[no-untyped-call]


def train_in_group(rank: int, ranks: int, folder: Path, value: str, work: Path) -> None:
    """One of several processes that meet over gloo, as a run's learners do."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks))
    meeting = f"file://{work}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    train(folder, value, work, Group())


def train(folder: Path, value: str, work: Path, ranks: Any) -> None:
    """PPO with a clock at every step's end, which rank 0 prints."""
    setting = json.loads((folder / "setting.json").read_text())
    limits = {key: setting[key] for key in ("max_prompt_tokens", "max_new_tokens")}
    ends: list[tuple[float, float]] = []

    def clock(step: int, total: int, metrics: Mapping[str, float]) -> None:
        ends.append((time.perf_counter(), metrics["length"]))

    learner = PPO(
        **limits,
        value={"trunk": TrunkValue(), "critic": RewardModelCritic()}[value],
        kl=FixedKL(0.05),
        steps=setting["steps"],
        episodes_per_step=setting["episodes_per_step"],
        epochs=setting["epochs"],
        minibatch_size=setting["minibatch_size"],
        learning_rate=setting["learning_rate"],
        checkpoint_every=None,
        resume_every=10**6,
    )
    inputs = Inputs(
        instructions=read_instructions(folder / "instructions.parquet"),
        reward=RewardModelScorer(str(folder / "reward_model"), **limits),
    )
    start = PolicyRef(str(folder / "policy"), Decoding(1.0, limits["max_new_tokens"]))
    kind = Context if ranks.rank == 0 else Follower
    learner.fit(start, inputs, kind(0, work, Full(), ranks=ranks, on_progress=clock))
    if ranks.rank == 0:
        print(json.dumps([
            {"wall_s": b[0] - a[0], "length": b[1]} for a, b in itertools.pairwise(ends)
        ]))  # fmt: skip


if __name__ == "__main__":
    main()
