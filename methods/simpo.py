"""Simple preference optimisation (Meng et al. 2024, arXiv 2405.14734, equation 6).

The implicit reward of an answer is beta times the mean log-probability of its tokens and its end
id; the loss is -log sigmoid(r(y_w) - r(y_l) - gamma), gamma being the margin that is aimed at. No
start policy holds the learner back: rate and number of steps do.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.checks import require, require_at_least
from farm.training.preferences import expected
from methods.pair_learner import UnanchoredPairLearner, reported

if TYPE_CHECKING:
    from farm.training.answer_logprobs import PairLogprobs
    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class SimPO(UnanchoredPairLearner):
    """Metrics, over a batch's pairs: loss, accuracy (share where the implicit reward of the
    preferred answer is higher), margin (mean difference of implicit rewards, nats per token *
    beta), entropy (nats per answer token)."""

    beta: float = 2.0
    gamma: float = 1.0
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        require("beta", self.beta, "above 0", self.beta > 0)
        require_at_least("gamma", self.gamma, 0)

    def pair_losses(self, policy: "PairLogprobs") -> "RowLosses":
        """The loss under soft labels."""
        from torch.nn.functional import logsigmoid

        from farm.training.loss_trainer import RowLosses

        margin_B = self.beta * (policy.b_B / policy.b_tokens_B - policy.a_B / policy.a_tokens_B)
        if_b_B, if_a_B = -logsigmoid(margin_B - self.gamma), -logsigmoid(-margin_B - self.gamma)
        return RowLosses(expected(policy.preference_B, if_b_B, if_a_B), reported(policy, margin_B))
