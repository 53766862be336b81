"""A reward model that predicts ratings (attribute prediction of SteerLM, Dong et al. 2023, arXiv
2310.05344; HelpSteer2, arXiv 2406.08673; compared with preferences in arXiv 2410.01257).

Minimises the squared error of each answer's ratings, in points; ratings that are missing are masked
out, and a pair's loss is the mean over those that it has. The head has an output for each attribute
and no bias. HelpSteer2-Preference used learning rate 2e-6 after 10 steps of warm-up, 2 epochs,
batch 128, on Llama-3.1-70B-Instruct; its helpfulness-only model is this with one attribute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.checks import require
from farm.errors import DataError
from farm.types import LabeledPair
from methods.reward.pair_reward import PairLosses, PairRewardLearner, agreement, preferences

if TYPE_CHECKING:
    from torch import Tensor

    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class Attributes(PairRewardLearner):
    """Learns from labels with ratings; pairs without are left out, which the run is told of.
    Metrics: loss (squared points), and accuracy and margin of the score, as in `BradleyTerry`.

    Raises `ConfigError` where no attribute counts, and `DataError` where nothing is rated.
    """

    weights: Mapping[str, float]
    """By attribute, how much it counts in the score, which is in points; 0: it is learned only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        right = "a mapping from attributes to numbers, one of them not 0"
        require("weights", dict(self.weights), right, any(self.weights.values()))

    @property
    def outputs(self) -> Mapping[str, float]:
        """The attributes."""
        return self.weights

    def usable(self, labels: Sequence[LabeledPair]) -> list[LabeledPair]:
        """Those that rate an answer by one of the attributes."""
        wanted = self.weights.keys()
        rated = [label for label in labels if wanted & (label.judgment.attributes or {}).keys()]
        if not rated:
            raise DataError(
                f"none of the {len(labels)} labels rates answers by {', '.join(wanted)}. Ratings "
                "are given by annotators=barnyard_graded and by LLM judges that rate "
                "(simulators.judges.parsers.Ratings)."
            )
        return rated

    def loss_on(self, labels: Sequence[LabeledPair]) -> PairLosses:
        """The squared error of both answers' ratings."""
        import torch

        from farm.training.loss_trainer import RowLosses

        ratings_N_2_K = torch.tensor([self._ratings(label) for label in labels])
        preference_N = preferences(labels)
        weights_K = torch.tensor(list(self.weights.values()))

        def losses(a_B_K: "Tensor", b_B_K: "Tensor", batch: Sequence[int]) -> "RowLosses":
            rated_B_2_K = ratings_N_2_K[list(batch)].to(a_B_K)
            outputs_B_2_K = torch.stack([a_B_K, b_B_K], dim=1)
            lead_B = (b_B_K - a_B_K) @ weights_K.to(a_B_K)
            preference_B = preference_N[list(batch)].to(a_B_K)
            loss_B = masked_squared_error(outputs_B_2_K.flatten(1), rated_B_2_K.flatten(1))
            return RowLosses(loss_B, agreement(lead_B, preference_B))

        return losses

    def _ratings(self, label: LabeledPair) -> list[list[float]]:
        """Of both answers, [2, attributes]; NaN where there is none."""
        rated = label.judgment.attributes or {}
        nothing = (float("nan"), float("nan"))
        both = [rated.get(name, nothing) for name in self.weights]
        return [[ratings[side] for ratings in both] for side in (0, 1)]


def masked_squared_error(outputs_B_E: "Tensor", targets_B_E: "Tensor") -> "Tensor":
    """The mean squared error [B] over the targets that are not NaN; each row has one."""
    known_B_E = ~targets_B_E.isnan()
    errors_B_E = (outputs_B_E - targets_B_E.nan_to_num()) ** 2
    return (errors_B_E * known_B_E).sum(1) / known_B_E.sum(1)
