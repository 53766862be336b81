"""All figures of one evaluated policy, from its per-instruction items.

Items are one row per instruction: instruction_id, category, output, stopped, preference,
expectation, held_out, gold, gold_reference, proxy, proxy_reference, length, length_reference, kl;
NaN where a column does not apply. Units: rates in percent against the reference, lengths in
characters, KL in nats per answer, gold and proxy in their own scale.
"""

import math

import numpy as np
import pandas as pd

from farm.evaluation.intervals import Interval, mean_interval
from farm.evaluation.length_control import length_controlled_win_rate
from farm.evaluation.rates import gold_win_rate, win_rate
from farm.protocols import FloatArray

Summary = dict[str, float | None]


def summarize(items: pd.DataFrame, *, seed: int) -> Summary:
    """The rate columns of `farm.evaluation.curve`, each None where it does not apply.

    Intervals are over instructions, conditional on this policy and judge: bootstraps, and the delta
    method for the length-controlled rate. Gold columns are means over the rows gold can score.
    """
    preferences = _column(items, "preference")
    lengths = _column(items, "length")
    by_length = length_controlled_win_rate(
        items.rename(columns={"length_reference": "length_baseline", "length": "length_model"})
    )
    gold = _column(items, "gold")
    judged = win_rate(preferences, seed=seed)
    gold_wins = gold_win_rate(gold, _column(items, "gold_reference"), seed=seed)
    values = {
        "n": float(len(items)),
        "no_verdict": float(judged.n_missing),
        "kl_to_start": _mean(_column(items, "kl")),
        "proxy_reward": _mean(_column(items, "proxy")),
        **_rate("pool_preference", _column(items, "expectation"), seed),
        **_with_interval("win_rate", judged.interval),
        **_rate("held_out_win_rate", _column(items, "held_out"), seed),
        **_with_interval(
            "length_controlled_win_rate",
            Interval(by_length.value, by_length.low, by_length.high),
        ),
        **_with_interval("gold_utility", mean_interval(gold, seed=seed)),
        **_with_interval("gold_win_rate", gold_wins.interval),
        "mean_length": _mean(lengths),
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _column(items: pd.DataFrame, name: str) -> FloatArray:
    return items[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _with_interval(name: str, interval: Interval) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def _rate(name: str, preferences: FloatArray, seed: int) -> dict[str, float]:
    return _with_interval(name, win_rate(preferences, seed=seed).interval)
