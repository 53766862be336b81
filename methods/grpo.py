"""Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300, equations 3 and 4).

The answers to a prompt are each other's baseline: no value function. The KL penalty to the start
is part of the loss, not of the reward. DeepSeekMath used 64 answers to a prompt, clip 0.2, KL
coefficient 0.04, learning rate 1e-6 and one update per rollout on 7 B parameters.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.checks import require, require_at_least
from farm.training.correction import Correction, Uncorrected
from farm.training.on_policy import MinibatchLoss, Run
from farm.training.rewarded import RewardedLearner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from farm.training.episodes import Episodes, Observed
    from farm.training.networks import Networks


@dataclass(frozen=True, kw_only=True)
class GRPO(RewardedLearner):
    """Adds the metrics loss, clip_fraction and kl_loss (the penalty's estimate, nats per token)."""

    answers_per_prompt: int = 8
    epochs: int = 2
    clip_ratio: float = 0.2
    kl_coefficient: float = 0.04
    correction: Correction = field(default_factory=Uncorrected)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("answers_per_prompt", self.answers_per_prompt, 2)
        require("clip_ratio", self.clip_ratio, "above 0", self.clip_ratio > 0)
        require_at_least("kl_coefficient", self.kl_coefficient, 0)

    def learn(self, run: Run) -> dict[str, float]:
        """Roll out, score, compare within groups, update."""
        import torch

        from farm.training.episodes import describe, log_ratios
        from methods.group_loss import group_advantages

        answered = self.answers(run)
        rewarded = self.rewards(run, answered)
        weights_B_T = self.correction.weights(log_ratios(answered.episodes, answered.observed))
        advantages_B = group_advantages(
            torch.from_numpy(rewarded.rewards_B).float(), self.answers_per_prompt
        ).to(weights_B_T.device)
        advantages_B_T = advantages_B[:, None] * weights_B_T
        loss = self.minibatch_loss(
            run.networks, answered.episodes, answered.observed, advantages_B_T
        )
        losses = self.update(run, answered.episodes.lengths(), loss)
        return {**rewarded.metrics, **describe(answered.episodes, answered.observed), **losses}

    def minibatch_loss(
        self,
        networks: "Networks",
        episodes: "Episodes",
        observed: "Observed",
        advantages_B_T: "Tensor",
    ) -> MinibatchLoss:
        """Means over an answer's tokens, then over the minibatch's answers."""
        from farm.generation.logprobs import predict, token_logprobs
        from methods.ppo_loss import k3, policy_loss

        def loss(rows: list[int], minibatch: list[int]) -> "Mapping[str, Tensor]":
            mask_b_T = episodes.mask_B_T[rows]
            tokens_b = mask_b_T.sum(1)
            weights_N = (1 / (tokens_b * len(minibatch))).repeat_interleave(tokens_b)
            batch = episodes.batch(networks.model, rows)
            logprobs_N = token_logprobs(predict(networks.model, batch).logits_N_V, batch.tokens_N)
            policy = policy_loss(
                logprobs_N,
                observed.logprobs_B_T[rows][mask_b_T],
                advantages_B_T[rows][mask_b_T],
                self.clip_ratio,
            )
            kl_N = k3(logprobs_N, observed.start_logprobs_B_T[rows][mask_b_T])
            return {
                "loss": ((policy.loss_N + self.kl_coefficient * kl_N) * weights_N).sum(),
                "clip_fraction": (policy.clipped_N * weights_N).sum(),
                "kl_loss": (kl_N * weights_N).sum(),
            }

        return loss
