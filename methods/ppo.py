"""Proximal policy optimisation from a reward (Schulman et al. 2017, arXiv 1707.06347), as
AlpacaFarm does it (Dubois et al. 2023, arXiv 2305.14387; rl/ppo_trainer.py).

Each step samples answers at temperature 1, scores them, turns scores and a per-token KL penalty to
the start policy into advantages, and takes a few epochs of clipped updates. Ours departs from
AlpacaFarm's, here and where the formulas are (`methods.ppo_loss`, `methods.ppo_value`):

- losses and whitening average over answer tokens; theirs over padding as well, so that a short
  answer's tokens count for less;
- the KL penalty is not clamped at zero, and the end of an answer is found by length;
- the reward is standardised once, by the start policy's own scores; theirs is rescaled every step,
  after the KL penalty went in, so that the penalty's strength drifts.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from farm.checks import require, require_at_least
from farm.training.correction import Correction, Uncorrected
from farm.training.kl_control import KLController
from farm.training.on_policy import Answered, MinibatchLoss, Run
from farm.training.rewarded import RewardedLearner
from farm.types import Inputs
from methods.ppo_value import ValueFunction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from farm.protocols import FloatArray
    from farm.training.episodes import Episodes
    from farm.training.networks import Networks


class Lesson(NamedTuple):
    """What the networks said about the answers' tokens before the update, and what to learn;
    masked [B, T]."""

    mask_B_T: "Tensor"
    logprobs_B_T: "Tensor"
    values_B_T: "Tensor"
    advantages_B_T: "Tensor"
    returns_B_T: "Tensor"


@dataclass(frozen=True, kw_only=True)
class PPO(RewardedLearner):
    """Adds the metrics explained_variance, of a step's answers before its update; loss, value_loss
    and clip_fraction, of the update; and kl_coefficient."""

    value: ValueFunction
    kl: KLController
    kl_estimator: Literal["k1", "k3"] = "k1"
    epochs: int = 4
    clip_ratio: float = 0.2
    clip_value: float = 0.2
    value_coefficient: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 0.95
    correction: Correction = field(default_factory=Uncorrected)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("clip_ratio", "clip_value"):
            require(key, getattr(self, key), "above 0", getattr(self, key) > 0)
        require_at_least("value_coefficient", self.value_coefficient, 0)
        require("gamma", self.gamma, "in [0, 1]", 0 <= self.gamma <= 1)
        require("gae_lambda", self.gae_lambda, "in [0, 1]", 0 <= self.gae_lambda <= 1)

    def numbers(self) -> dict[str, Any]:
        """The reward's scale, and the KL penalty's strength."""
        return {**super().numbers(), "kl_coefficient": self.kl.coefficient}

    def modules(self, model: Any, tokenizer: Any, inputs: Inputs) -> dict[str, Any]:
        """The value function."""
        assert inputs.reward is not None
        return {"critic": self.value.build(model, tokenizer, inputs.reward)}

    def learn(self, run: Run) -> dict[str, float]:
        """Roll out, score, find advantages, update."""
        from farm.training.advantages import explained_variance
        from farm.training.episodes import describe

        answered = self.answers(run, [run.networks.modules["critic"]])
        rewarded = self.rewards(run, answered)
        lesson = self._lesson(run, rewarded.rewards_B, answered)
        loss = self.minibatch_loss(run.networks, answered.episodes, lesson)
        losses = self.update(run, answered.episodes.lengths(), loss)
        coefficient = run.numbers["kl_coefficient"]
        metrics = {
            **rewarded.metrics,
            **describe(answered.episodes, answered.observed),
            "explained_variance": explained_variance(
                lesson.values_B_T, lesson.returns_B_T, lesson.mask_B_T
            ),
            **losses,
            "kl_coefficient": coefficient,
        }
        run.numbers["kl_coefficient"] = self.kl.update(coefficient, metrics["kl_to_start"])
        return metrics

    def _lesson(self, run: Run, rewards_B: "FloatArray", answered: Answered) -> Lesson:
        import torch

        from farm.training.advantages import gae, whiten
        from farm.training.episodes import log_ratios
        from methods.ppo_loss import KL_ESTIMATORS, shaped_rewards

        mask, observed = answered.episodes.mask_B_T, answered.observed
        estimate = KL_ESTIMATORS[self.kl_estimator]
        kl_B_T = estimate(observed.logprobs_B_T, observed.start_logprobs_B_T)
        rewards = torch.from_numpy(rewards_B).to(kl_B_T.device)
        shaped_B_T = shaped_rewards(rewards, kl_B_T, mask, run.numbers["kl_coefficient"])
        values_B_T = observed.others_K_B_T[0]
        advantages_B_T, returns_B_T = gae(
            shaped_B_T, values_B_T, mask, gamma=self.gamma, lambda_=self.gae_lambda
        )
        weights_B_T = self.correction.weights(log_ratios(answered.episodes, observed))
        weighed_B_T = whiten(advantages_B_T, mask) * weights_B_T
        return Lesson(mask, observed.logprobs_B_T, values_B_T, weighed_B_T, returns_B_T)

    def minibatch_loss(
        self, networks: "Networks", episodes: "Episodes", lesson: Lesson
    ) -> MinibatchLoss:
        """Means over a minibatch's answer tokens."""
        from farm.generation.logprobs import predict, token_logprobs
        from methods.ppo_loss import policy_loss, value_loss

        tokens_B = lesson.mask_B_T.sum(1)

        def loss(rows: list[int], minibatch: list[int]) -> "Mapping[str, Tensor]":
            mask_b_T, tokens = lesson.mask_B_T[rows], tokens_B[minibatch].sum()
            batch = episodes.batch(networks.model, rows)
            prediction = predict(networks.model, batch)
            policy = policy_loss(
                token_logprobs(prediction.logits_N_V, batch.tokens_N),
                lesson.logprobs_B_T[rows][mask_b_T],
                lesson.advantages_B_T[rows][mask_b_T],
                self.clip_ratio,
            )
            value = value_loss(
                networks.modules["critic"](batch, prediction),
                lesson.values_B_T[rows][mask_b_T],
                lesson.returns_B_T[rows][mask_b_T],
                self.clip_value,
            ).sum()
            return {
                "loss": (policy.loss_N.sum() + self.value_coefficient * value) / tokens,
                "value_loss": value / tokens,
                "clip_fraction": policy.clipped_N.sum() / tokens,
            }

        return loss
