"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, equation 7).

The implicit reward of an answer is r(y) = beta * (log pi(y | x) - log pi_start(y | x)), with
log-probabilities summed over its tokens and its end id; the loss is a function of the difference
r(y_chosen) - r(y_rejected), -log sigmoid in the paper and one of `methods.dpo_loss` here.
AlpacaFarm (arXiv 2305.14387) used beta 0.1, learning rate 1e-6, cosine, warm-up 3 %, 2 epochs,
batch 64, on LLaMA-7B; the defaults here suit a model a thousand times smaller.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.checks import require
from farm.training.preferences import expected
from methods.dpo_loss import PairLoss, Sigmoid
from methods.pair_learner import AnchoredPairLearner, reported

if TYPE_CHECKING:
    from torch import Tensor

    from farm.training.answer_logprobs import PairLogprobs
    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class DPO(AnchoredPairLearner):
    """Metrics, over a batch's pairs: loss, accuracy (share where the implicit reward of the
    preferred answer is higher), margin (mean difference of implicit rewards, nats * beta), entropy
    (nats per answer token)."""

    beta: float = 0.1
    loss: PairLoss = field(default_factory=Sigmoid)
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        require("beta", self.beta, "above 0", self.beta > 0)

    def pair_losses(
        self, policy: "PairLogprobs", a_ratio_B: "Tensor", b_ratio_B: "Tensor"
    ) -> "RowLosses":
        """The loss under soft labels."""
        from farm.training.loss_trainer import RowLosses
        from methods.dpo_loss import Side

        a = Side(a_ratio_B, policy.a_tokens_B)
        b = Side(b_ratio_B, policy.b_tokens_B)
        if_b_B, if_a_B = self.loss.of(b, a, self.beta), self.loss.of(a, b, self.beta)
        margin_B = self.beta * (b_ratio_B - a_ratio_B)
        return RowLosses(expected(policy.preference_B, if_b_B, if_a_B), reported(policy, margin_B))
