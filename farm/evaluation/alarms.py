"""Alarms that see over-optimisation without gold, and what they would have cost.

An alarm reads a curve (one row per checkpoint, columns of `farm.evaluation.curve`) and returns
the step at which it would stop, or None. It looks at checkpoints up to that step alone, as it
would during training. The thresholds are ours; `regret_table` tells what they are worth on curves
whose gold utility is known.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from farm.errors import DataError
from farm.evaluation.intervals import mean_interval
from farm.protocols import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Rule = Callable[["pd.DataFrame"], int | None]

SPREAD_RATIO = 1.5
"""Ensemble disagreement over that at the start; ours."""
HELD_OUT_FALL = 3.0
"""Points of win rate below the highest so far; ours. With few instructions noise alone falls as
far: on a flat curve that costs nothing, on a slowly rising one it stops early."""
LENGTH_RATIO = 1.5
"""Mean length over that of the start, or under it; ours."""


def spread_alarm(curve: "pd.DataFrame", *, ratio: float = SPREAD_RATIO) -> int | None:
    """Stops where reward models disagree: column `ensemble_spread` (see `ensemble_spread`) above
    `ratio`. Coste et al. 2023 (arXiv 2310.02743) penalise the same disagreement in training."""
    return _first(curve, _column(curve, "ensemble_spread") > ratio)


def divergence_alarm(curve: "pd.DataFrame", *, fall: float = HELD_OUT_FALL) -> int | None:
    """Stops where `held_out_win_rate` lies more than `fall` points below its highest so far, while
    `proxy_reward` has risen since that highest."""
    held_out_C = _column(curve, "held_out_win_rate")
    proxy_C = _column(curve, "proxy_reward")
    known_C = np.where(np.isnan(held_out_C), -np.inf, held_out_C)
    best_C = np.array([np.argmax(known_C[: c + 1]) for c in range(len(known_C))])
    return _first(curve, (held_out_C < known_C[best_C] - fall) & (proxy_C > proxy_C[best_C]))


def length_alarm(curve: "pd.DataFrame", *, ratio: float = LENGTH_RATIO) -> int | None:
    """Stops where `mean_length` is `ratio` times that of the start, or that part of it."""
    drift_C = np.abs(np.log(_column(curve, "mean_length") / _column(curve, "mean_length")[0]))
    return _first(curve, drift_C > np.log(ratio))


def never(curve: "pd.DataFrame") -> None:
    """Trains to the end."""


def ensemble_spread(scores_M_C_N: FloatArray) -> FloatArray:
    """How much M reward models disagree at C checkpoints, the start first, relative to the start.

    Each model's scores of the N answers are standardised by its mean and standard deviation at the
    start; the spread is the standard deviation over models (M - 1 in the denominator), averaged
    over answers. [C], 1 at the start.
    """
    start_M_1_N = scores_M_C_N[:, :1]
    center = np.nanmean(start_M_1_N, axis=2, keepdims=True)
    scale = np.nanstd(start_M_1_N, axis=2, keepdims=True)
    standardised_M_C_N = (scores_M_C_N - center) / scale
    spread_C: FloatArray = np.nanmean(standardised_M_C_N.std(axis=0, ddof=1), axis=1)
    relative_C: FloatArray = spread_C / spread_C[0]
    return relative_C


def early_stop_regret(curve: "pd.DataFrame", step: int | None) -> float:
    """Highest `gold_utility` of the curve minus that at `step`; None is the last step.

    Where gold is a mean over instructions its highest value is too high by selection, by the same
    amount for every rule on that curve.
    """
    gold = curve.set_index("step")["gold_utility"].astype("float64").sort_index()
    if gold.isna().any():
        raise DataError("regret needs gold_utility at every checkpoint; set data.gold to a scorer.")
    return float(gold.max() - (gold.iloc[-1] if step is None else gold.loc[step]))


def regret_table(
    curves: Sequence["pd.DataFrame"], rules: Mapping[str, Rule], *, seed: int
) -> "pd.DataFrame":
    """What every rule costs over many curves, one row per rule.

    Columns: rule; regret (mean, in gold utility) with regret_low and regret_high (95 %,
    resampling curves); and the percentages of curves on which the rule stopped before the end,
    stopped before the step of highest gold, and went beyond it. A rule may also be a selection, as
    `farm.evaluation.selection.selected_step` is.
    """
    import pandas as pd

    return pd.DataFrame([_cost(name, rule, curves, seed) for name, rule in rules.items()])


def _cost(
    name: str, rule: Rule, curves: Sequence["pd.DataFrame"], seed: int
) -> dict[str, float | str]:
    stops = [rule(curve) for curve in curves]
    regrets = [early_stop_regret(*pair) for pair in zip(curves, stops, strict=True)]
    regret = mean_interval(np.array(regrets), seed=seed)
    peaks = [curve["step"].iloc[int(np.argmax(curve["gold_utility"]))] for curve in curves]
    ends = [curve["step"].max() for curve in curves]
    kept = np.array([end if s is None else s for s, end in zip(stops, ends, strict=True)])
    return {
        "rule": name,
        "regret": regret.estimate,
        "regret_low": regret.low,
        "regret_high": regret.high,
        "stopped": 100 * float(np.mean(kept < np.array(ends))),
        "too_early": 100 * float(np.mean(kept < np.array(peaks))),
        "too_late": 100 * float(np.mean(kept > np.array(peaks))),
    }


def _first(curve: "pd.DataFrame", rings_C: NDArray[np.bool_]) -> int | None:
    steps = np.sort(curve["step"].to_numpy())[rings_C]
    return int(steps[0]) if len(steps) else None


def _column(curve: "pd.DataFrame", name: str) -> FloatArray:
    """In the order of the steps. Raises `DataError` where there is nothing to read."""
    if name not in curve or curve[name].isna().all():
        raise DataError(f"this alarm reads the column {name}, which the curve has not measured.")
    return curve.sort_values("step")[name].to_numpy(dtype=np.float64, na_value=np.nan)
