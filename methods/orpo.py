"""Odds-ratio preference optimisation (Hong et al. 2024, arXiv 2403.07691, equations 6 and 7).

The loss is -log P(y_w | x) - beta * log sigmoid(log odds(y_w) - log odds(y_l)), where log P is the
mean log-probability of the answer's tokens and its end id, and odds = P / (1 - P); beta is the
paper's lambda. No start policy is needed beside the one that learns: the first term keeps it near
the preferred answers. Both terms read the answer's tokens alone and weigh answers alike, whatever
their length (the authors' code and TRL's learn the prompt's tokens too).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.checks import require
from farm.training.preferences import expected
from methods.pair_learner import UnanchoredPairLearner, reported

if TYPE_CHECKING:
    from torch import Tensor

    from farm.training.answer_logprobs import PairLogprobs
    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class ORPO(UnanchoredPairLearner):
    """Metrics, over a batch's pairs: loss, nll (of the preferred answer, nats per token), accuracy
    (share where the preferred answer has the higher odds), margin (mean log odds ratio, nats),
    entropy (nats per answer token)."""

    beta: float = 0.1
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require("beta", self.beta, "above 0", self.beta > 0)

    def pair_losses(self, policy: "PairLogprobs") -> "RowLosses":
        """The loss under soft labels."""
        from torch.nn.functional import logsigmoid

        from farm.training.loss_trainer import RowLosses

        a_B, b_B = policy.a_B / policy.a_tokens_B, policy.b_B / policy.b_tokens_B
        margin_B = log_odds(b_B) - log_odds(a_B)
        if_b_B = -b_B - self.beta * logsigmoid(margin_B)
        if_a_B = -a_B - self.beta * logsigmoid(-margin_B)
        nll_B = expected(policy.preference_B, -b_B, -a_B)
        return RowLosses(
            expected(policy.preference_B, if_b_B, if_a_B), reported(policy, margin_B, nll=nll_B)
        )


def log_odds(logprobs_B: "Tensor") -> "Tensor":
    """log(P / (1 - P)) [B] of log P, which is at most 0. A P that rounds to 1 counts as the largest
    one below it, so that odds stay finite."""
    import torch

    logprobs_B = logprobs_B.clamp(max=-torch.finfo(logprobs_B.dtype).eps)
    return logprobs_B - torch.log(-torch.expm1(logprobs_B))
