"""Choosing by what a user of the sandbox could see: gold never selects."""

import math
from collections.abc import Mapping

import pandas as pd

from farm.errors import FarmError


def selected_step(curve: pd.DataFrame) -> int:
    """The step with the highest `win_rate` (on `validation`); of equal ones the earliest.

    Raises `FarmError` where no checkpoint has a win rate.
    """
    judged = curve.dropna(subset=["win_rate"]).sort_values("step")
    if judged.empty:
        raise FarmError(
            "no checkpoint can be selected: the judge gave no verdict on any of them. "
            "Check annotators.clean, and the errors in the evaluations' judgments."
        )
    return int(judged["step"].iloc[int(judged["win_rate"].argmax())])


def best_temperature(pool_preferences: Mapping[float, float]) -> float:
    """The temperature with the highest pool preference; of equal ones the lowest.

    Raises `FarmError` where the pool prefers nothing, which shows as NaN.
    """
    judged = {t: p for t, p in sorted(pool_preferences.items()) if not math.isnan(p)}
    if not judged:
        raise FarmError(
            "no reference can be chosen: annotators.clean gave no verdict on the start policy's "
            "answers. Choose annotators that can judge this data, or set evaluation.reference."
        )
    return max(judged, key=lambda t: judged[t])
