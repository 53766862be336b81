"""A Bradley-Terry reward model whose scores lie apart by how strong a preference is (Margin BT:
Llama 2, arXiv 2307.09288; HelpSteer2-Preference, arXiv 2410.01257).

Minimises -log sigmoid(r(x, y_chosen) - r(x, y_rejected) - m), m = |strength| in 1, 2, 3; ties have
m = 0 and are soft labels as any other. It asks for differences of m and more, also where the data
cannot bear them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from farm.types import LabeledPair
from methods.reward.bradley_terry import BradleyTerry
from methods.reward.strengths import strengths


@dataclass(frozen=True, kw_only=True)
class MarginBradleyTerry(BradleyTerry):
    """As `BradleyTerry`; needs labels with strengths. Raises `DataError` without."""

    def margins(self, labels: Sequence[LabeledPair]) -> list[float]:
        """The strengths."""
        return strengths(labels)
