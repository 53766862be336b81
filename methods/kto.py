"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306, equations 7 and 8).

Answers are desirable or undesirable by themselves: of a pair, the preferred one and the other. With
the log-ratio r = log pi(y | x) - log pi_start(y | x), an answer costs
lambda_desirable * (1 - sigmoid(beta * (r - z0))) or
lambda_undesirable * (1 - sigmoid(beta * (z0 - r))). The reference point z0 stands for the policy's
KL divergence from the start: the batch's mean log-ratio of its answers to other prompts than their
own, at least 0; no gradient goes through it. Which other prompt an answer meets is fixed before the
first step, so that the start reads each of these only once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.checks import require
from farm.seeds import generator
from farm.training.offline import LossOfRows
from farm.training.preferences import PairRows, expected
from methods.pair_learner import PairLearner, reported

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context
    from farm.training.answer_logprobs import PairLogprobs
    from farm.training.loss_trainer import RowLosses


@dataclass(frozen=True, kw_only=True)
class KTO(PairLearner):
    """Metrics, over a batch's pairs: loss (mean of both answers'), z0 (nats), accuracy (share
    where the implicit reward beta * r of the preferred answer is higher), margin (mean difference
    of implicit rewards, nats * beta), entropy (nats per answer token)."""

    beta: float = 0.1
    lambda_desirable: float = 1.0
    lambda_undesirable: float = 1.0
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("beta", "lambda_desirable", "lambda_undesirable"):
            require(key, getattr(self, key), "above 0", getattr(self, key) > 0)

    def losses(self, model: Any, rows: PairRows, context: "Context") -> LossOfRows:
        """The loss of some of the rows."""
        return _Losses(self, model, rows, context)

    def pair_losses(
        self, policy: "PairLogprobs", a_ratio_B: "Tensor", b_ratio_B: "Tensor", z0: "Tensor"
    ) -> "RowLosses":
        """Losses of pairs from log(pi / pi_start) of their answers and the reference point, nats:
        a soft label weighs what an answer costs where it is desirable and where it is not."""
        from farm.training.loss_trainer import RowLosses

        def cost_B(desirable_B: "Tensor", undesirable_B: "Tensor") -> "Tensor":
            return (
                self.lambda_desirable * (self.beta * (z0 - desirable_B)).sigmoid()
                + self.lambda_undesirable * (self.beta * (undesirable_B - z0)).sigmoid()
            ) / 2

        if_b_B, if_a_B = cost_B(b_ratio_B, a_ratio_B), cost_B(a_ratio_B, b_ratio_B)
        margin_B = self.beta * (b_ratio_B - a_ratio_B)
        return RowLosses(
            expected(policy.preference_B, if_b_B, if_a_B),
            reported(policy, margin_B, z0=z0.expand_as(margin_B)),
        )


class _Losses:
    """The loss of some of a batch's rows, whose reference point is the whole batch's."""

    def __init__(self, learner: KTO, start: Any, rows: PairRows, context: "Context") -> None:
        self._learner, self._rows, self._ranks = learner, rows, context.ranks
        self._mismatched = rows._replace(prompts=_others(rows.prompts, context.seed))
        self._start_2_N = self._logprobs(start, rows)
        self._mismatched_start_2_N = self._logprobs(start, self._mismatched)

    def _logprobs(self, model: Any, rows: PairRows) -> "Tensor":
        from farm.training.answer_logprobs import frozen_pair_logprobs

        limit = self._learner.tokens_per_batch
        return frozen_pair_logprobs(model, rows, self._ranks, tokens_per_batch=limit)

    def begin(self, model: Any, batch: Sequence[int]) -> None:
        """Estimate the reference point of the batch with these rows."""
        found_2_B = self._logprobs(model, self._mismatched.some(batch))
        ratios_2_B = found_2_B - self._mismatched_start_2_N[:, list(batch)]
        self._z0 = ratios_2_B.mean().clamp(min=0)

    def __call__(self, model: Any, batch: Sequence[int]) -> "RowLosses":
        from farm.training.answer_logprobs import pair_logprobs

        policy = pair_logprobs(model, self._rows, batch)
        start_a_B, start_b_B = self._start_2_N[:, list(batch)]
        return self._learner.pair_losses(
            policy, policy.a_B - start_a_B, policy.b_B - start_b_B, self._z0
        )


def _others(prompts: Sequence[list[int]], seed: int) -> list[list[int]]:
    """For each row another row's prompt, each once: the next one's on a random round."""
    others: list[list[int]] = [[]] * len(prompts)
    round_N = generator(seed, "mismatched prompts").permutation(len(prompts)).tolist()
    for row, next_row in zip(round_N, [*round_N[1:], round_N[0]], strict=True):
        others[row] = prompts[next_row]
    return others
