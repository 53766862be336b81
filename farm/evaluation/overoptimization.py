"""Whether gold utility turns over along a learning curve while the proxy keeps rising.

The peak of a noisy curve is too high by selection, so it is chosen on one half of the
instructions and measured on the other; both ways, averaged. Only gold utility is tested, never a
win rate. The interval resamples instructions within each half: conditional on this run's policies.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from farm.errors import DataError
from farm.evaluation.bands import among, curve_mean, weighted_means
from farm.evaluation.intervals import Interval, paired_interval, percentiles, resamples
from farm.protocols import FloatArray
from farm.seeds import generator


class Overoptimization(NamedTuple):
    """Gold and proxy along the checkpoints of one run, in their own scales."""

    peak: Interval
    """The step where mean gold utility is highest on all instructions (`turning_point`)."""
    gold_drop: Interval
    """Peak minus end of gold utility; the peak's step is chosen on other instructions."""
    proxy_rise: Interval
    """Last minus first checkpoint of the proxy reward; NaN where there is no proxy."""
    proxy_rise_after_peak: Interval
    """Last checkpoint minus `peak_step` of the proxy reward."""

    @property
    def peak_step(self) -> int:
        """The estimate of `peak`."""
        return int(self.peak.estimate)

    @property
    def turns_over(self) -> bool:
        """Whether the interval of the gold drop lies above 0."""
        return self.gold_drop.low > 0


def overoptimization(items: pd.DataFrame, *, seed: int) -> Overoptimization:
    """From the items of every checkpoint (columns step, instruction_id, gold, proxy).

    Raises `DataError` where gold scores fewer than two instructions at every checkpoint.
    """
    gold_C_N = _by_step(items, "gold")
    proxy_C_N = _by_step(items, "proxy").to_numpy()
    scored = gold_C_N.dropna(axis="columns")
    if scored.shape[1] < 2:
        raise DataError(
            "over-optimisation needs gold utility of at least two instructions at every "
            f"checkpoint; gold scores {scored.shape[1]} here. Set data.gold to a scorer."
        )
    peak = turning_point(scored.to_numpy(), scored.index.to_numpy(), seed=seed)
    at_peak = scored.index.get_loc(peak.estimate)
    return Overoptimization(
        peak=peak,
        gold_drop=peak_minus_end(scored.to_numpy(), seed=seed),
        proxy_rise=paired_interval(proxy_C_N[0], proxy_C_N[-1], seed=seed),
        proxy_rise_after_peak=paired_interval(proxy_C_N[at_peak], proxy_C_N[-1], seed=seed),
    )


def peak_minus_end(values_C_N: FloatArray, *, seed: int) -> Interval:
    """Peak minus end of a curve over checkpoints [C], each measured on the same instructions [N].

    The peak is chosen on one half of the instructions and measured on the other, both ways,
    averaged; where the end is the highest, this is 0.
    """
    count = values_C_N.shape[1]
    order = generator(seed, "halves", count).permutation(count)
    first, second = (values_C_N[:, half] for half in np.array_split(order, 2))
    weights_first = resamples(first.shape[1], seed=seed, name="first half")
    weights_second = resamples(second.shape[1], seed=seed, name="second half")
    return percentiles(
        _cross_fitted(weighted_means(first, weights_first), weighted_means(second, weights_second)),
        float(_cross_fitted(first.mean(axis=1)[None], second.mean(axis=1)[None])[0]),
    )


def turning_point(values_C_N: FloatArray, position_C: FloatArray, *, seed: int) -> Interval:
    """Where the mean of a curve is highest, as a step or sqrt(KL) in `position_C`.

    The interval is of the place of the highest point over resampled instructions, so its ends are
    points of the curve. It says where a turn lies, `peak_minus_end` whether there is one.
    """
    weights_R_N = resamples(values_C_N.shape[1], seed=seed)
    peak_R = weighted_means(values_C_N, weights_R_N).argmax(axis=1)
    return among(position_C[peak_R], float(position_C[curve_mean(values_C_N).argmax()]))


def _cross_fitted(first_R_C: FloatArray, second_R_C: FloatArray) -> FloatArray:
    """Peak minus end per replicate, chosen on either half and measured on the other."""
    return (_chosen_by(first_R_C, second_R_C) + _chosen_by(second_R_C, first_R_C)) / 2


def _chosen_by(chooser_R_C: FloatArray, measured_R_C: FloatArray) -> FloatArray:
    peak_R = chooser_R_C.argmax(axis=1)
    at_peak: FloatArray = np.take_along_axis(measured_R_C, peak_R[:, None], axis=1)[:, 0]
    return at_peak - measured_R_C[:, -1]


def _by_step(items: pd.DataFrame, column: str) -> pd.DataFrame:
    """Checkpoints by instructions, in the order of the steps."""
    values = items.assign(**{column: items[column].astype("float64")})
    return values.pivot(index="step", columns="instruction_id", values=column).sort_index()
