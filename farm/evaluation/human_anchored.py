"""Win rates anchored on a few human labels: prediction-powered inference.

A judge has a verdict on every instruction, people (or gold) on some drawn at random. The judge's
mean is precise but biased; the labels correct the bias (Angelopoulos et al. 2023, arXiv 2301.09633)
and say how far the judge is to be trusted (power tuning, Angelopoulos et al. 2023, PPI++, arXiv
2311.01453). The interval covers the error of that calibration.
"""

from typing import NamedTuple

import numpy as np

from farm.errors import DataError
from farm.evaluation.intervals import COVERAGE, Interval, exact_if_unanimous
from farm.evaluation.rates import checked, standard_error
from farm.protocols import FloatArray


class HumanAnchored(NamedTuple):
    """A win rate by labels and judge together, in percent, with its 95 % interval."""

    value: float
    standard_error: float
    low: float
    high: float
    judge_weight: float
    """How far the judge is trusted, in [0, 1]: 0 is labels alone."""
    labels_alone: float
    """Win rate by the labels, in percent."""
    labels_alone_standard_error: float
    judge_alone: float
    """Win rate by the judge, in percent, over all its verdicts."""
    bias: float
    """Judge minus label where there are both, in points of percent."""
    n: int
    """Verdicts of the judge."""
    n_labels: int
    """Labels that count: those with a verdict beside them."""
    effective_labels: float
    """How many labels alone would give the same standard error."""


def human_anchored_win_rate(preference: FloatArray, label: FloatArray) -> HumanAnchored:
    """Win rate from `preference` [N] of the judge and `label` [N] of people, NaN where none is.

    Both are P(the policy's answer is better) in [0, 1]; the labelled rows must be a random draw.
    The interval is Student's with one degree of freedom less than labels (ours: the paper's normal
    one is too narrow for a few dozen), and the exact binomial one where all labels agree.
    Raises `DataError` for values outside [0, 1], lengths that differ, and fewer than two labels
    with a verdict beside them.
    """
    judge_N, label_N = checked(preference), checked(label)
    if len(judge_N) != len(label_N):
        raise DataError(
            f"there are {len(judge_N)} preferences and {len(label_N)} labels; give one label per "
            "preference, with NaN where nobody labelled."
        )
    judged, labelled = ~np.isnan(judge_N), ~np.isnan(label_N)
    labels, predicted = label_N[judged & labelled], judge_N[judged & labelled]
    unlabelled = judge_N[judged & ~labelled]
    if len(labels) < 2:
        raise DataError(
            "a human-anchored win rate needs two labels or more beside verdicts of the judge; here "
            f"are {len(labels)}."
        )
    weight = _judge_weight(labels, predicted, unlabelled)
    value, error = _prediction_powered(labels, predicted, unlabelled, weight)
    interval = _interval(labels, value, error)
    return HumanAnchored(
        value=100 * value,
        standard_error=100 * error,
        low=100 * interval.low,
        high=100 * interval.high,
        judge_weight=weight,
        labels_alone=100 * float(labels.mean()),
        labels_alone_standard_error=100 * standard_error(labels),
        judge_alone=100 * float(judge_N[judged].mean()),
        bias=100 * float((predicted - labels).mean()),
        n=int(judged.sum()),
        n_labels=len(labels),
        effective_labels=float(labels.var(ddof=1) / error**2) if error else float(len(labels)),
    )


def _judge_weight(labels: FloatArray, predicted: FloatArray, unlabelled: FloatArray) -> float:
    """PPI++'s lambda for a mean: cov(label, judge) / ((1 + n/N) var(judge)), cut to [0, 1]."""
    variance = np.concatenate([predicted, unlabelled]).var(ddof=1)
    if not len(unlabelled) or not variance:
        return 0.0
    covariance = np.cov(labels, predicted)[0, 1]
    weight = covariance / ((1 + len(labels) / len(unlabelled)) * variance)
    return float(np.clip(weight, 0, 1))


def _prediction_powered(
    labels: FloatArray, predicted: FloatArray, unlabelled: FloatArray, weight: float
) -> tuple[float, float]:
    """(mean, standard error): the judge's mean on unlabelled rows, corrected on labelled ones."""
    corrections = labels - weight * predicted
    value, variance = float(corrections.mean()), standard_error(corrections) ** 2
    if weight:
        value += weight * float(unlabelled.mean())
        variance += weight**2 * float(unlabelled.var()) / len(unlabelled)
    return value, float(np.sqrt(variance))


def _interval(labels: FloatArray, value: float, error: float) -> Interval:
    from scipy.stats import t

    if labels.min() == labels.max():
        return exact_if_unanimous(Interval(value, value, value), len(labels))
    reach = float(t.ppf(0.5 + COVERAGE / 200, len(labels) - 1)) * error
    return Interval(value, max(value - reach, 0.0), min(value + reach, 1.0))
