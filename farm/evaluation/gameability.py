"""How much a metric moves where only the manner of the answers does.

As in length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475): models are asked for
verbose or concise answers, and a metric that measures quality should hardly notice. The truncation
attack shortens answers to profit from a correction for length.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from farm.errors import DataError
from farm.protocols import FloatArray


class Attack(NamedTuple):
    """A metric before and after the answers were changed."""

    before: float
    after: float

    @property
    def gain(self) -> float:
        """After minus before, in the metric's unit."""
        return self.after - self.before


def gameability(default_M: FloatArray, variant_M: FloatArray, *, scale: float = 1.0) -> float:
    """Spread of the metric between models [M] and their verbose (or concise) variants, in percent.

    Standard deviation (ddof 1) over the mean of the two, averaged over models, times `scale`, which
    is `comparable_scale`, or 1 for the raw win rate. Raises `DataError` where lengths differ or a
    mean is not positive.
    """
    two_M_2 = np.column_stack([np.atleast_1d(default_M), np.atleast_1d(variant_M)])
    means_M = two_M_2.mean(axis=1)
    if not (means_M > 0).all():
        raise DataError(
            "gameability is relative to the metric's mean, which must be above 0; the lowest of "
            f"{len(means_M)} is {means_M.min():g}."
        )
    return float(100 * scale * (two_M_2.std(axis=1, ddof=1) / means_M).mean())


def comparable_scale(raw_K: FloatArray, metric_K: FloatArray) -> float:
    """Spread of the raw win rate across models [K] over that of the metric.

    With it a metric gains nothing by moving all models closer together. Raises `DataError` where
    the metric is the same for all models.
    """
    spread = float(np.std(metric_K, ddof=1)) if np.size(metric_K) > 1 else 0.0
    if not spread:
        raise DataError("gameability is scaled by the metric's spread, which is 0 across models.")
    return float(np.std(raw_K, ddof=1)) / spread


def truncated(text: str, share: float) -> str:
    """The first words of a text, at most `share` of its characters, but one word at least."""
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    fitting = sum(end <= share * len(text) for end in ends)
    return text[: ends[max(fitting, 1) - 1]] if ends else text


def attack(
    answers: Sequence[str], change: Callable[[str], str], metric: Callable[[Sequence[str]], float]
) -> Attack:
    """What a change of every answer does to a metric of all of them."""
    return Attack(metric(answers), metric([change(answer) for answer in answers]))
