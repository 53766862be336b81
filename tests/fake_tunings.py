"""What a tuning study would have measured, made up from known truth, without running anything."""

from collections.abc import Sequence

import pandas as pd

from farm.seeds import generator
from farm.studies.tuning_job import Measured
from farm.studies.tuning_study import TuningStudy
from farm.training.compute import BYTES

BASELINE = "full"
LOSSES = {"full": 0.50, "twin": 0.50, "slow": 0.60, "<b>odd</b> | name": 0.45}
"""What each variant's loss ends at, by its nature."""
OPTIMIZER_BYTES = {"full": 8000, "twin": 4000, "slow": 80, "<b>odd</b> | name": 8000}
STEPS = tuple(range(1, 21))


def study(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> TuningStudy:
    """The settings."""
    variants = {name: [f"tuning.rank={n + 1}"] for n, name in enumerate(LOSSES)}
    return TuningStudy(seeds=seeds, variants=variants, baseline=BASELINE)


def ending(seed: int, name: str) -> float:
    """The last loss of a variant on a seed."""
    of = BASELINE if name == "twin" else name
    return LOSSES[name] + 0.005 * float(generator(seed, of).normal())


def measured(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> Measured:
    """Losses fall in a line to their ends; half a point of win rate for a hundredth of loss."""
    cells = [(seed, name) for seed in seeds for name in LOSSES]
    losses = [
        {"seed": seed, "variant": name, "step": step,
         "loss": 0.7 + (ending(seed, name) - 0.7) * step / STEPS[-1]}
        for seed, name in cells for step in STEPS
    ]  # fmt: skip
    policies = [
        {"seed": seed, "variant": name, "loss": ending(seed, name), "kl_to_start": 1.0,
         "win_rate": 95 - 50 * ending(seed, name), "gold_win_rate": 60.0 + seed}
        for seed, name in cells
    ]  # fmt: skip
    costs = [
        {"seed": seed, "variant": name, "flops": 2e11, "wall_s": 9.0, **dict.fromkeys(BYTES, 4000),
         "optimizer_bytes": OPTIMIZER_BYTES[name]}
        for seed, name in cells
    ]  # fmt: skip
    return Measured(pd.DataFrame(losses), pd.DataFrame(policies), pd.DataFrame(costs))
