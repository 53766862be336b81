"""What a tuning study says: losses, policies, memory, and differences from the baseline."""

from typing import TYPE_CHECKING

from farm.studies.over_seeds import differences, over_seeds
from farm.studies.tuning_job import Measured
from farm.training.compute import BYTES

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("loss", "win_rate", "gold_win_rate", "kl_to_start")
COMPARED = ("loss", "win_rate", "gold_win_rate")


def tuning_tables(measured: Measured, baseline: str) -> dict[str, "pd.DataFrame"]:
    """`losses`, one row per variant and step, `policies`, one row per variant: means over seeds
    with intervals; `differences` of `COMPARED` from the baseline; `costs`, one row per variant:
    mean flops and wall_s, the most bytes of any seed, and the number of seeds."""
    costs = measured.costs.groupby("variant", sort=False)
    means, most = costs[["flops", "wall_s"]].mean(), costs[list(BYTES)].max()
    return {
        "losses": over_seeds(measured.losses, ["variant", "step"], ["loss"]),
        "policies": over_seeds(measured.policies, ["variant"], FIGURES),
        "differences": differences(measured.policies, baseline, [], COMPARED),
        "costs": means.join(most).assign(seeds=costs.size()).reset_index(),
    }
