"""Our side of `bench_ppo_throughput.py`: `python ppo_farm.py FOLDER VALUE`.

Writes one JSON line: wall and processor seconds of each step, and the mean length of its answers.
"""

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from farm.context import Context
from farm.data.records import read_instructions
from farm.scorers.reward_model import RewardModelScorer
from farm.training.kl_control import FixedKL
from farm.training.tuning import Full
from farm.types import Decoding, Inputs, PolicyRef
from methods.ppo import PPO
from methods.ppo_value import RewardModelCritic, TrunkValue


def main() -> None:
    """Train, with a clock at every step's end."""
    folder = Path(sys.argv[1])
    setting = json.loads((folder / "setting.json").read_text())
    limits = {key: setting[key] for key in ("max_prompt_tokens", "max_new_tokens")}
    ends: list[tuple[float, float, float]] = []

    def clock(step: int, total: int, metrics: Mapping[str, float]) -> None:
        ends.append((time.perf_counter(), time.process_time(), metrics["length"]))

    learner = PPO(
        **limits,
        value={"trunk": TrunkValue(), "critic": RewardModelCritic()}[sys.argv[2]],
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
    with tempfile.TemporaryDirectory() as work:
        start = PolicyRef(str(folder / "policy"), Decoding(1.0, limits["max_new_tokens"]))
        learner.fit(start, inputs, Context(0, Path(work), Full(), on_progress=clock))
    print(json.dumps([
        {"wall_s": b[0] - a[0], "cpu_s": b[1] - a[1], "length": b[2]}
        for a, b in itertools.pairwise(ends)
    ]))  # fmt: skip


if __name__ == "__main__":
    main()
