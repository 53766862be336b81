"""What a stability study would have measured, made up from known truth, without running
anything."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from farm.data.barnyard.gold import BarnyardCorrect
from farm.seeds import generator
from farm.studies.stability_job import Measured
from farm.studies.stability_study import StabilityStudy

BASELINE = "all"
DEPTHS = {"all": 0.30, "twin": 0.30, "spared": 0.05, "<b>odd</b> | name": 0.25}
"""How far each falls at step 10, by its nature; it is back at step 20, unless it is the odd one."""
STEPS = (0, 10, 20, 30)
SOURCES = ("barnyard", "harbour")


class NoTexts:
    """Stands for held-out text."""

    def texts(self) -> list[str]:
        return ["hay"]


def study(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> StabilityStudy:
    """The settings."""
    variants = {name: [f"method.learning_rate={n + 1}"] for n, name in enumerate(DEPTHS)}
    return StabilityStudy(
        seeds=seeds,
        variants=variants,
        baseline=BASELINE,
        texts=NoTexts(),
        score=BarnyardCorrect(),
        temperature=0.0,
        blocks=1,
    )


def measured(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> Measured:
    """Seeds differ in where they start, all alike, and a little in how far they fall."""
    cells = [(seed, name) for seed in seeds for name in DEPTHS]
    skills = [row for cell in cells for row in _skills(*cell)]
    readings = [row for cell in cells for row in _readings(*cell)]
    costs = [{"seed": seed, "variant": name, "flops": 2e11, "wall_s": 9.0} for seed, name in cells]
    return Measured(pd.DataFrame(skills), pd.DataFrame(readings), pd.DataFrame(costs))


def fall(seed: int, name: str) -> float:
    """How far a variant falls on a seed."""
    who = "all" if name == "twin" else name
    return DEPTHS[name] + 0.01 * float(generator(seed, who).normal())


def _skills(seed: int, name: str) -> list[dict[str, object]]:
    start = 0.7 + 0.05 * float(generator(seed, "start").normal())
    end = start - (fall(seed, name) / 2 if name.startswith("<") else 0.0)
    scores = (start, start - fall(seed, name), end, end)
    return [
        {"seed": seed, "variant": name, "source": source, "step": step, "score": score,
         "instructions": 100}
        for source in SOURCES
        for step, score in zip(STEPS, scores, strict=True)
    ]  # fmt: skip


def _readings(seed: int, name: str) -> list[dict[str, object]]:
    losses, moved = 3.0 - 0.05 * np.array(STEPS), 0.01 * np.array(STEPS)
    return [
        {"seed": seed, "variant": name, "step": step, "text_loss": loss, "bottom_update": 1.5 * far,
         "top_update": far}
        for step, loss, far in zip(STEPS, losses, moved, strict=True)
    ]  # fmt: skip
