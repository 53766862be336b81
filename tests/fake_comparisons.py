"""What a comparison would have measured, made up from known truth, without running anything."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from farm.seeds import generator
from farm.studies.comparison_job import Compared

QUALITY = {"good": 1.2, "middling": 0.5, "bad": -1.0, "start": 0.0}
"""Mean utility of policies' answers, which vary by 0.3; the reference is at 0."""
TRIALS = {"good": (60.0, 70.0), "middling": (65.0, 55.0), "bad": (30.0, 30.0)}
"""Win rates on `validation`, by method."""


def compared(seeds: Sequence[int] = (1, 2, 3), *, instructions: int = 60) -> Compared:
    """Longer answers are better in the pool's eyes alone; `start` is the reference of all seeds."""
    cells = [(seed, policy) for seed in seeds for policy in QUALITY]
    return Compared(
        trials=_trials(),
        answers=pd.concat([_answers(*cell, instructions) for cell in cells], ignore_index=True),
        costs=pd.DataFrame([_cost(*cell) for cell in cells]),
    )


def _trials() -> pd.DataFrame:
    rows = [
        {
            "method": method, "trial": number, "settings": f"key={number}", "seed": 9,
            "win_rate": rate, "win_rate_low": rate - 5, "win_rate_high": rate + 5,
            "step": 10 * number, "checkpoints": 3,
        }
        for method, rates in TRIALS.items()
        for number, rate in enumerate(rates, start=1)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    best = {"good": 2, "middling": 1, "bad": 1}
    return frame.assign(chosen=frame["method"].map(best) == frame["trial"])


def _answers(seed: int, policy: str, count: int) -> pd.DataFrame:
    noise = 0.3 * generator(seed, policy).normal(size=count)
    reference = policy == "start"
    gold = np.zeros(count) if reference else QUALITY[policy] + noise
    length = np.full(count, 40) if reference else 40 + 3 * generator(0, policy).normal(size=count)
    pool = 1 / (1 + np.exp(-gold - (length - 40) / 20))
    return pd.DataFrame(
        {
            "seed": seed,
            "policy": policy,
            "role": _role(policy),
            "instruction_id": [f"i{number:03d}" for number in range(count)],
            "preference": (pool > 0.5).astype(float),
            "expectation": pool,
            "held_out": 1 / (1 + np.exp(-gold)),
            "gold": gold,
            "gold_reference": 0.0,
            "length": length,
            "length_reference": 40.0,
        }
    )


def _role(policy: str) -> str:
    return "reference" if policy == "start" else "learned"


def _cost(seed: int, policy: str) -> dict[str, Any]:
    costs = {"judgments": 8000, "prompts": 4000, "flops": 10**12 * seed, "wall_s": 30.0}
    learned = policy != "start"
    return {
        "seed": seed,
        "policy": policy,
        "role": _role(policy),
        "step": 10,
        "settings": f"key={seed}" if learned else None,
        **(costs if learned else dict.fromkeys(costs, 0)),
        "drawn": 16 if policy == "good" else 1,
    }
