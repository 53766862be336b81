"""Online DPO with the annotators in the loop (Guo et al. 2024, arXiv 2402.04792): the policy gives
two answers to each prompt, the annotators compare them, and DPO's loss learns from the comparison.

Guo et al. use an LLM as the annotator, beta 0.1, learning rate 5e-7 and batches of 128 on PaLM 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from farm.checks import require
from farm.training.feedback import Comparison
from farm.training.on_policy import Answered, MinibatchLoss, Run
from farm.training.online import OnlineLearner
from farm.training.preferences import PairRows, expected
from methods.dpo_loss import PairLoss, Sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class OnlineDPO(OnlineLearner):
    """Soft and tied verdicts as they are; pairs without one are left out. Adds the metrics loss,
    accuracy and margin (see `methods.dpo`)."""

    answers_per_prompt: int = 2
    beta: float = 0.1
    loss: PairLoss = field(default_factory=Sigmoid)

    def __post_init__(self) -> None:
        super().__post_init__()
        require("answers_per_prompt", self.answers_per_prompt, "2", self.answers_per_prompt == 2)
        require("beta", self.beta, "above 0", self.beta > 0)

    @property
    def rows_per_minibatch(self) -> int:
        """Pairs."""
        return max(1, self.minibatch_size // 2)

    @property
    def rows_per_step(self) -> int:
        """Pairs."""
        return self.episodes_per_step // 2

    def learn(self, run: Run) -> dict[str, float]:
        """Answer twice, compare, update."""
        from farm.training.episodes import describe

        answered = self.answers(run)
        asked = [
            Comparison(answered.asked[row], answered.texts[row], answered.texts[row + 1])
            for row in range(0, len(answered.texts), 2)
        ]
        verdicts = self.compare(run, asked)
        judged = np.flatnonzero(~np.isnan(verdicts.preferences)).tolist()
        losses = self._update(run, answered, judged, verdicts.preferences[judged].tolist())
        return {
            **describe(answered.episodes, answered.observed),
            **losses,
            **self.spent(run, verdicts),
        }

    def _update(
        self, run: Run, answered: Answered, judged: Sequence[int], preferences: list[float]
    ) -> dict[str, float]:
        if not judged:
            return {}
        episodes, start_B = answered.episodes, answered.observed.start_logprobs_B_T.sum(1)
        rows = PairRows(
            [episodes.prompts[2 * pair] for pair in judged],
            [episodes.responses[2 * pair] for pair in judged],
            [episodes.responses[2 * pair + 1] for pair in judged],
            preferences,
        )
        first = [2 * pair for pair in judged]
        second = [2 * pair + 1 for pair in judged]
        loss = self.minibatch_loss(run, rows, start_B[first], start_B[second])
        return self.update(run, rows.lengths(), loss)

    def minibatch_loss(
        self, run: Run, rows: PairRows, start_a_N: "Tensor", start_b_N: "Tensor"
    ) -> MinibatchLoss:
        """Means over a minibatch's pairs."""
        from farm.training.answer_logprobs import pair_logprobs
        from methods.dpo_loss import Side

        def loss(part: list[int], minibatch: list[int]) -> "Mapping[str, Tensor]":
            policy = pair_logprobs(run.networks.model, rows, part)
            a = Side(policy.a_B - start_a_N[part], policy.a_tokens_B)
            b = Side(policy.b_B - start_b_N[part], policy.b_tokens_B)
            losses_B = expected(
                policy.preference_B,
                self.loss.of(b, a, self.beta),
                self.loss.of(a, b, self.beta),
            )
            margin_B = self.beta * (b.ratio_B - a.ratio_B).detach()
            towards_B = margin_B * (policy.preference_B - 0.5).sign()
            return {
                "loss": losses_B.sum() / len(minibatch),
                "margin": towards_B.sum() / len(minibatch),
                "accuracy": (towards_B > 0).float().sum() / len(minibatch),
            }

        return loss
