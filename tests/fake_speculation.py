"""What a study of speculative sampling would have measured, made up, without running anything."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from farm.seeds import generator
from farm.studies.speculation_job import Measured
from farm.studies.speculation_study import RuleSettings, SpeculationStudy

SAVED = {"fixed": 1.0, "head": 0.8, "<b>odd</b>": 1.2}
"""What every rule discards for what the fixed one does at as many passes."""


def study(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> SpeculationStudy:
    """The settings."""
    rules = {name: RuleSettings([], "decoding.threshold", [1.0, 2.0, 4.0]) for name in SAVED}
    return SpeculationStudy(seeds=seeds, rules=rules, baseline="fixed", cost_ratios=[3.0, 10.0])


def measured(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> Measured:
    """Every rule has the same passes at the same setting, and its own discards."""
    settings = [row for seed in seeds for name in SAVED for row in _rows(seed, name)]
    bins = [
        {"seed": seed, "rule": name, "bin": b, "estimate": b / 10, "accepted": b / 10, "tokens": 5}
        for seed in seeds
        for name in SAVED
        if name != "fixed"
        for b in (3, 9)
    ]
    return Measured(pd.DataFrame(settings), pd.DataFrame(bins))


def _rows(seed: int, name: str) -> list[dict[str, float | str]]:
    rows: list[dict[str, float | str]] = []
    of_seed = 1 + 0.05 * generator(seed, "seed").normal()
    estimated = name != "fixed"
    for value, passes, discarded in ((1.0, 500, 100), (2.0, 400, 200), (4.0, 300, 500)):
        lost = int(discarded * SAVED[name] * of_seed)
        rows.append(
            {
                "seed": seed, "rule": name, "value": value, "generated": 1000, "verified": passes,
                "discarded": lost, "rejected": min(lost, 90), "drafted": 1000 + lost - passes,
                "auroc": 0.7 + value / 100 if estimated else np.nan,
                "calibration_error": 0.1 if estimated else np.nan,
                "brier": 0.2 if estimated else np.nan,
                "acceptance": 0.8, "p_value": 0.5, "wall_s": 2.0, "plain_wall_s": 3.0,
            }
        )  # fmt: skip
    return rows
