"""All tables of a study, by name."""

from typing import TYPE_CHECKING

from farm.studies import overoptimization, rankings
from farm.studies.measure import Measured
from farm.studies.ranking_study import RankingStudy

if TYPE_CHECKING:
    import pandas as pd

Tables = dict[str, "pd.DataFrame"]

_GOLDEN = ("best_of_n", "followed", "turning_points", "failures", "laws", "alarms")


def study_tables(measured: Measured, study: RankingStudy) -> Tables:
    """What each holds stands with the function that makes it."""
    policies = rankings.with_gold(measured.policies)
    first = study.annotators[0]
    doses = {name: tuple(bias["doses"]) for name, bias in study.biases.items()}
    return {
        "win_rates": rankings.win_rates(policies),
        "controls": rankings.controls(measured.controls),
        "correlations": rankings.correlations(policies, study.human),
        **rankings.places(policies, study.human, first),
        "dose_response": rankings.dose_response(policies, study.human, first, doses),
        "variance": rankings.variance(policies, first),
        **_overoptimization(measured, str(study.curve)),
    }


def _overoptimization(measured: Measured, learner: str) -> Tables:
    """Empty but for `curves` where nothing is known of gold."""
    import pandas as pd

    checkpoints, samples = measured.checkpoints, measured.samples
    curves = overoptimization.policy_curves(checkpoints)
    found = {"curves": curves} | dict.fromkeys(_GOLDEN, pd.DataFrame())
    if checkpoints["gold"].isna().all():
        return found
    best_of_n = overoptimization.best_of_n_curves(samples)
    return found | {
        "best_of_n": best_of_n,
        "followed": overoptimization.followed(curves, best_of_n, learner),
        "turning_points": overoptimization.turning_points(checkpoints),
        "failures": overoptimization.failures(checkpoints),
        "laws": overoptimization.laws(checkpoints, samples),
        "alarms": overoptimization.alarm_table(curves, seed=0),
    }
