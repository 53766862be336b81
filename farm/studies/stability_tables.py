"""What a stability study says: gaps, and differences from the baseline."""

import math
from typing import TYPE_CHECKING

from farm.evaluation.stability_gap import Gap, stability_gap
from farm.studies.over_seeds import differences, over_seeds
from farm.studies.stability_job import Measured

if TYPE_CHECKING:
    import pandas as pd

FIGURES = (*Gap._fields, "recovered")
COMPARED = ("end", "best", "depth", "area")
"""Of these there are differences: every seed has them."""
READINGS = ("text_loss", "bottom_update", "top_update", "bottom_to_top")


def stability_tables(measured: Measured, baseline: str) -> dict[str, "pd.DataFrame"]:
    """`gaps`, one row per variant and `source` of instructions: the figures of
    farm.evaluation.stability_gap with intervals over seeds, scores in percent, and `recovered`,
    the percentage of seeds that come back (steps of recovery are of these alone); `differences`
    of `COMPARED` from the baseline; `curves`, one row per variant, step and source: `score`, mean
    and interval; `readings`, one row per variant and step: `READINGS`; `costs`, one row per
    variant: mean flops and wall_s, and the number of seeds."""
    skills = measured.skills.assign(score=100 * measured.skills["score"])
    per_seed = gaps(skills)
    readings = measured.readings
    ratio = readings["bottom_update"] / readings["top_update"]  # 0 / 0 is NaN at step 0
    costs = measured.costs.groupby("variant", sort=False)
    return {
        "gaps": over_seeds(per_seed, ["variant", "source"], FIGURES),
        "differences": differences(per_seed, baseline, ["source"], COMPARED),
        "curves": over_seeds(skills, ["variant", "source", "step"], ["score"]),
        "readings": over_seeds(readings.assign(bottom_to_top=ratio), ["variant", "step"], READINGS),
        "costs": costs[["flops", "wall_s"]].mean().assign(seeds=costs.size()).reset_index(),
    }


def gaps(skills: "pd.DataFrame") -> "pd.DataFrame":
    """One row per seed, variant and source: `FIGURES`."""
    import pandas as pd

    rows = []
    for (seed, variant, source), curve in skills.groupby(["seed", "variant", "source"], sort=False):
        found = stability_gap(*curve.sort_values("step")[["step", "score"]].to_numpy().T)
        back = 100.0 * (not math.isnan(found.recovery))
        of = {"seed": seed, "variant": variant, "source": source}
        rows.append({**of, **found._asdict(), "recovered": back})
    return pd.DataFrame(rows)
