"""An assessor that is a program: scores from 1 to 10 for single answers in the barnyard, as noisy
as one likes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from farm.checks import require
from farm.data.barnyard.features import measure, weight_vector
from farm.protocols import FloatArray
from farm.seeds import generator
from farm.types import Instruction
from simulators.judges.assessment import HIGHEST, LOWEST

_CENTRE, _SPREAD = 7.0, 2.0
"""Of the scores before they are rounded: where good and bad answers are equally likely, and the
standard deviation of either. Ours; scores of judges lean to the upper half."""
_CUTS = (np.arange(LOWEST, HIGHEST) + 0.5 - _CENTRE) / _SPREAD
"""Between neighbouring scores, in standard deviations from the centre."""
_FARTHEST = 20.0


class BarnyardAssessor:
    """Tells good answers from bad ones with a given area under the ROC curve: the probability that
    a good answer's score is above a bad one's, ties half.

    An answer is good where the weighted sum of its features reaches `at_least`; one to a task that
    is not the barnyard's is bad. Its score is normal around one of two means, rounded and kept in
    1..10; the means' distance is whatever gives the `auroc`. Assessors with one seed share the part
    `shared` of the noise's variance, as the errors of a model do that is asked several questions
    about one answer.

    Args:
        name: of the question; part of every draw's seed.
        weights: of the features in `farm.data.barnyard.features.FEATURES`.
        at_least: the sum from which an answer is good.
        auroc: from 0.5, which knows nothing, to below 1.
        shared: in [0, 1].
        seed: of the noise, which is a function of it and of the texts.

    Raises ConfigError for an unknown feature and for values out of range.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        name: str,
        weights: Mapping[str, float],
        at_least: float,
        auroc: float,
        shared: float,
        seed: int,
    ) -> None:
        require("auroc", auroc, "in [0.5, 0.999]", 0.5 <= auroc <= 0.999)
        require("shared", shared, "a share in [0, 1]", 0 <= shared <= 1)
        self._name = name
        self._weights = weight_vector(weights, "weights")
        self._at_least = at_least
        self._auroc = auroc
        self._shared = shared
        self._seed = seed

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N] in 1..10."""
        utility_N = measure(instructions, completions) @ self._weights
        side_N = np.where(utility_N >= self._at_least, 0.5, -0.5)  # NaN is on the bad side
        answers = zip(instructions, completions, strict=True)
        noise_N = np.array([self._noise(i.id, text) for i, text in answers])
        raw_N = _CENTRE + _SPREAD * (side_N * self._distance + noise_N)
        return np.asarray(np.clip(np.rint(raw_N), LOWEST, HIGHEST))

    def _noise(self, instruction_id: str, text: str) -> float:
        """One standard normal number."""
        common, own = (
            generator(self._seed, "assessment", question, instruction_id, text).normal()
            for question in ("", self._name)
        )
        return float(np.sqrt(self._shared) * common + np.sqrt(1 - self._shared) * own)

    @cached_property
    def _distance(self) -> float:
        """Of the two means, in standard deviations."""
        from scipy.optimize import brentq

        if self._auroc == 0.5:
            return 0.0
        return float(brentq(lambda distance: auroc_of(distance) - self._auroc, 0.0, _FARTHEST))


def auroc_of(distance: float) -> float:
    """The area under the ROC curve of rounded scores whose means are so far apart, in standard
    deviations."""
    from scipy.stats import norm

    bad, good = (
        np.diff(norm.cdf(_CUTS - mean), prepend=0.0, append=1.0)
        for mean in (-distance / 2, distance / 2)
    )
    below = np.cumsum(bad) - bad
    return float(good @ (below + bad / 2))
