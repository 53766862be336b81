"""A reward model of pairwise preferences (Bradley and Terry 1952; Ouyang et al. 2022, arXiv
2203.02155, equation 1).

Minimises -log sigmoid(r(x, y_chosen) - r(x, y_rejected)); a soft label is the probability with
which either answer is the chosen one.
AlpacaFarm (arXiv 2305.14387) used learning rate 3e-6, cosine, warm-up 3 %, 1 epoch, batch 16, on
LLaMA-7B, no end token and a head on the last position of left-padded rows; here the head reads the
end id. An answer that sampling cut at its limit has none, unless its text takes fewer tokens than
were sampled: judgments keep texts, and such a text looks as if it had ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.training.preferences import expected
from farm.types import LabeledPair
from methods.reward.pair_reward import PairLosses, PairRewardLearner, agreement, preferences

if TYPE_CHECKING:
    from torch import Tensor

    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class BradleyTerry(PairRewardLearner):
    """Metrics: loss (nats per pair), accuracy (share of the batch's pairs where the preferred
    answer scores higher), margin (mean score difference towards it)."""

    def margins(self, labels: Sequence[LabeledPair]) -> list[float]:
        """By how much the chosen answer's score must lead to be as likely as not, one for each."""
        return [0.0] * len(labels)

    def weights(self, labels: Sequence[LabeledPair]) -> list[float]:
        """How much each label counts; 1 on average."""
        return [1.0] * len(labels)

    def loss_on(self, labels: Sequence[LabeledPair]) -> PairLosses:
        """The negative log-likelihood of each label."""
        import torch
        from torch.nn.functional import logsigmoid

        from farm.training.loss_trainer import RowLosses

        columns = (
            preferences(labels),
            torch.tensor(self.margins(labels)),
            torch.tensor(self.weights(labels)),
        )

        def losses(a_B_K: "Tensor", b_B_K: "Tensor", batch: Sequence[int]) -> "RowLosses":
            lead_B = (b_B_K - a_B_K)[:, 0]
            preference_B, margin_B, weight_B = (each[list(batch)].to(lead_B) for each in columns)
            if_b_B, if_a_B = -logsigmoid(lead_B - margin_B), -logsigmoid(-lead_B - margin_B)
            loss_B = weight_B * expected(preference_B, if_b_B, if_a_B)
            return RowLosses(loss_B, agreement(lead_B, preference_B))

        return losses
