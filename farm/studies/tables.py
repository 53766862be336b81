"""All tables of a study, by name."""

from typing import TYPE_CHECKING

from farm.studies import overoptimization, rankings
from farm.studies.measure import Measured
from farm.studies.settings import StudySettings

if TYPE_CHECKING:
    import pandas as pd

Tables = dict[str, "pd.DataFrame"]


def study_tables(measured: Measured, study: StudySettings) -> Tables:
    """What each holds stands with the function that makes it."""
    policies = rankings.with_gold(measured.policies)
    first = study.annotators[0]
    curves = overoptimization.policy_curves(measured.checkpoints)
    doses = {name: tuple(bias["doses"]) for name, bias in study.biases.items()}
    return {
        "win_rates": rankings.win_rates(policies),
        "correlations": rankings.correlations(policies, study.human),
        **rankings.places(policies, study.human, first),
        "dose_response": rankings.dose_response(policies, study.human, first, doses),
        "variance": rankings.variance(policies, first),
        "curves": curves,
        "turning_points": overoptimization.turning_points(measured.checkpoints),
        "failures": overoptimization.failures(measured.checkpoints),
        "best_of_n": overoptimization.best_of_n_curves(measured.samples),
        "laws": overoptimization.laws(measured.checkpoints, measured.samples),
        "alarms": overoptimization.alarm_table(curves, seed=0),
    }
