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
from methods.reward.pair_reward import PairRewardLearner, preferences

if TYPE_CHECKING:
    from torch import Tensor

    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class BradleyTerry(PairRewardLearner):
    """Metrics: loss (nats per pair), accuracy (share of the batch's pairs where the preferred
    answer scores higher), margin (mean score difference towards it)."""

    def pair_losses(
        self, a_B_K: "Tensor", b_B_K: "Tensor", labels: Sequence[LabeledPair]
    ) -> "RowLosses":
        """The negative log-likelihood of each label."""
        from torch.nn.functional import logsigmoid

        from farm.training.loss_trainer import RowLosses

        margin_B = (b_B_K - a_B_K)[:, 0]
        preference_B = preferences(labels, margin_B)
        loss_B = expected(preference_B, -logsigmoid(margin_B), -logsigmoid(-margin_B))
        return RowLosses(loss_B, agreement(margin_B, preference_B))


def agreement(margin_B: "Tensor", preference_B: "Tensor") -> dict[str, "Tensor"]:
    """The metrics accuracy and margin, over the pairs whose label leans to a side."""
    leans_B = preference_B != 0.5
    towards_B = (margin_B.detach() * (preference_B - 0.5).sign())[leans_B]
    return {"accuracy": (towards_B > 0).float(), "margin": towards_B}
