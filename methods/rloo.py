"""REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740).

An answer is one action. Its reward carries the KL penalty, r(x, y) - kl * log(pi(y) / pi_start(y)),
and its advantage is what it has over the mean of the other answers to its prompt. Where a step's
answers are used for several updates, the ratio of whole answers is clipped, as in TRL.
HelpSteer2-Preference's REINFORCE (arXiv 2410.01257) takes 4 answers to a prompt.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.checks import require, require_at_least
from farm.training.correction import Correction, Uncorrected
from farm.training.on_policy import MinibatchLoss, OnPolicyLearner, Run
from farm.training.rewarded import RewardedLearner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from farm.training.episodes import Episodes, Observed
    from farm.training.networks import Networks


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut(OnPolicyLearner):
    """The update, whatever the rewards come from. Metrics: loss and clip_fraction."""

    answers_per_prompt: int = 4
    epochs: int = 2
    clip_ratio: float = 0.2
    kl_coefficient: float = 0.05
    correction: Correction = field(default_factory=Uncorrected)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("answers_per_prompt", self.answers_per_prompt, 2)
        require("clip_ratio", self.clip_ratio, "above 0", self.clip_ratio > 0)
        require_at_least("kl_coefficient", self.kl_coefficient, 0)

    def reinforce(
        self, run: Run, episodes: "Episodes", observed: "Observed", rewards_B: "Tensor"
    ) -> dict[str, float]:
        """Update towards the rewards [B], the KL penalty taken off; the update's metrics."""
        from farm.training.episodes import log_ratios
        from methods.group_loss import leave_one_out_advantages

        moved_B = (observed.logprobs_B_T - observed.start_logprobs_B_T).sum(1)
        penalised_B = rewards_B.to(moved_B) - self.kl_coefficient * moved_B
        advantages_B = leave_one_out_advantages(penalised_B, self.answers_per_prompt)
        weights_B = self.correction.weights(log_ratios(episodes, observed).sum(1))
        loss = self.minibatch_loss(run.networks, episodes, observed, advantages_B * weights_B)
        return self.update(run, episodes.lengths(), loss)

    def minibatch_loss(
        self,
        networks: "Networks",
        episodes: "Episodes",
        observed: "Observed",
        advantages_B: "Tensor",
    ) -> MinibatchLoss:
        """Means over the minibatch's answers."""
        from farm.generation.logprobs import predict, token_logprobs
        from methods.group_loss import answer_sums, sequence_policy_loss

        old_B = observed.logprobs_B_T.sum(1)
        tokens_B = episodes.mask_B_T.sum(1)

        def loss(rows: list[int], minibatch: list[int]) -> "Mapping[str, Tensor]":
            batch = episodes.batch(networks.model, rows)
            logprobs_N = token_logprobs(predict(networks.model, batch).logits_N_V, batch.tokens_N)
            logprobs_b = answer_sums(logprobs_N, tokens_B[rows])
            policy = sequence_policy_loss(
                logprobs_b, old_B[rows], advantages_B[rows], self.clip_ratio
            )
            return {
                "loss": policy.loss_B.sum() / len(minibatch),
                "clip_fraction": policy.clipped_B.sum() / len(minibatch),
            }

        return loss


@dataclass(frozen=True, kw_only=True)
class RLOO(LeaveOneOut, RewardedLearner):
    """Learns from `inputs.reward`; metrics of both classes that it is made of."""

    def learn(self, run: Run) -> dict[str, float]:
        """Roll out, score, compare within groups, update."""
        import torch

        from farm.training.episodes import describe

        answered = self.answers(run)
        rewarded = self.rewards(run, answered)
        rewards_B = torch.from_numpy(rewarded.rewards_B).float()
        losses = self.reinforce(run, answered.episodes, answered.observed, rewards_B)
        return {**rewarded.metrics, **describe(answered.episodes, answered.observed), **losses}
