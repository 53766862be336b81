"""A Bradley-Terry reward model in which strong preferences count more (Scaled BT:
HelpSteer2-Preference, arXiv 2410.01257).

Minimises -m log sigmoid(r(x, y_chosen) - r(x, y_rejected)), m = |strength| in 1, 2, 3, as if the
pair had been seen m times; ties count nothing. The paper leaves the mean of m in the loss, where it
multiplies the step; here each m is divided by the mean over the training labels (ties included), so
that learning rates mean what they mean for `BradleyTerry` and a comparison of the two is none of
learning rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from farm.types import LabeledPair
from methods.reward.bradley_terry import BradleyTerry
from methods.reward.strengths import strengths


@dataclass(frozen=True, kw_only=True)
class ScaledBradleyTerry(BradleyTerry):
    """As `BradleyTerry`; needs labels with strengths. Raises `DataError` without."""

    def weights(self, labels: Sequence[LabeledPair]) -> list[float]:
        """The strengths, over their mean."""
        found = strengths(labels)
        mean = sum(found) / len(found)
        return [strength / mean for strength in found]
