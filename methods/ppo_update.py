"""PPO's update: epochs of minibatches on one step's answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from farm.checks import require, require_at_least
from farm.protocols import FloatArray
from farm.training.schedule import LearningRateSchedule

if TYPE_CHECKING:
    from torch import Tensor

    from farm.generation.logprobs import ResponseBatch

Generator = np.random.Generator


@dataclass(frozen=True)
class Networks:
    """What learns, and how its parameters move."""

    model: Any
    critic: Any
    optimizer: Any
    scheduler: Any

    _STATEFUL: ClassVar = ("model", "critic", "optimizer", "scheduler")

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, for a resume file."""
        return {name: getattr(self, name).state_dict() for name in self._STATEFUL}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        for name in self._STATEFUL:
            getattr(self, name).load_state_dict(state[name])


@dataclass(frozen=True)
class Lesson:
    """Answers, what the networks said about their tokens before the update, and what to learn;
    masked [B, T]."""

    prompts: list[list[int]]
    responses: list[list[int]]
    mask_B_T: "Tensor"
    logprobs_B_T: "Tensor"
    values_B_T: "Tensor"
    advantages_B_T: "Tensor"
    returns_B_T: "Tensor"


@dataclass(frozen=True)
class ClippedUpdate:
    """The hyper-parameters of the update, as in `conf/method/ppo.yaml`. Raises `ConfigError`."""

    epochs: int
    minibatch_size: int
    tokens_per_batch: int
    learning_rate: float
    warmup_steps: int
    lr_schedule: LearningRateSchedule
    adam_epsilon: float
    max_grad_norm: float
    clip_ratio: float
    clip_value: float
    value_coefficient: float

    def __post_init__(self) -> None:
        for key in ("epochs", "minibatch_size", "tokens_per_batch"):
            require_at_least(key, getattr(self, key), 1)
        for key in ("learning_rate", "adam_epsilon", "max_grad_norm", "clip_ratio", "clip_value"):
            require(key, getattr(self, key), "above 0", getattr(self, key) > 0)
        for key in ("warmup_steps", "value_coefficient"):
            require_at_least(key, getattr(self, key), 0)

    def networks(self, model: Any, critic: Any, *, steps: int, episodes: int) -> Networks:
        """Model and critic with the optimiser of their trainable parameters, for a run of so many
        steps of so many episodes."""
        from torch.optim import AdamW
        from transformers import get_scheduler

        parameters = [p for m in (model, critic) for p in m.parameters() if p.requires_grad]
        optimizer = AdamW(
            parameters, self.learning_rate, eps=self.adam_epsilon, weight_decay=0.0, fused=True
        )
        minibatches = -(-episodes // self.minibatch_size)
        scheduler = get_scheduler(
            self.lr_schedule,
            optimizer,
            num_warmup_steps=self.warmup_steps,
            num_training_steps=steps * self.epochs * minibatches,
        )
        return Networks(model, critic, optimizer, scheduler)

    def run(
        self, networks: Networks, lesson: Lesson, rng_of_epoch: Callable[[int], Generator]
    ) -> dict[str, float]:
        """Change the networks; the means over all minibatches, each before its own step."""
        means = []
        for epoch in range(self.epochs):
            order = rng_of_epoch(epoch).permutation(len(lesson.prompts)).tolist()
            for begin in range(0, len(order), self.minibatch_size):
                rows = order[begin : begin + self.minibatch_size]
                means.append(self._minibatch(networks, lesson, rows))
        loss, value_loss, clipped = np.mean(means, axis=0).tolist()
        return {"loss": loss, "value_loss": value_loss, "clip_fraction": clipped}

    def _minibatch(self, networks: Networks, lesson: Lesson, rows: list[int]) -> FloatArray:
        """One step of the optimiser on the mean over the minibatch's answer tokens, however many
        forward passes it takes. AlpacaFarm averages over padding as well, so that a short answer's
        tokens count for less. The means of (loss, value loss, clipped)."""
        from torch.autograd import backward
        from torch.nn.utils import clip_grad_norm_

        from farm.generation.logprobs import batches

        prompts = [lesson.prompts[row] for row in rows]
        responses = [lesson.responses[row] for row in rows]
        tokens = sum(map(len, responses))
        means = np.zeros(3)
        for part, batch in batches(networks.model, prompts, responses, self.tokens_per_batch):
            sums_3 = self._losses(networks, lesson, [rows[i] for i in part], batch)
            backward(sums_3[0] / tokens)
            means += sums_3.detach().cpu().numpy() / tokens
        clip_grad_norm_(networks.optimizer.param_groups[0]["params"], self.max_grad_norm)
        networks.optimizer.step()
        networks.optimizer.zero_grad()
        networks.scheduler.step()
        return means

    def _losses(
        self, networks: Networks, lesson: Lesson, rows: list[int], batch: "ResponseBatch"
    ) -> "Tensor":
        """Sums over the rows' answer tokens of (loss, value loss, clipped), [3]."""
        import torch

        from farm.generation.logprobs import predict, token_logprobs
        from methods.ppo_loss import policy_loss, value_loss

        mask_b_T = lesson.mask_B_T[rows]
        prediction = predict(networks.model, batch)
        policy = policy_loss(
            token_logprobs(prediction.logits_N_V, batch.tokens_N),
            lesson.logprobs_B_T[rows][mask_b_T],
            lesson.advantages_B_T[rows][mask_b_T],
            self.clip_ratio,
        )
        value = value_loss(
            networks.critic(batch, prediction),
            lesson.values_B_T[rows][mask_b_T],
            lesson.returns_B_T[rows][mask_b_T],
            self.clip_value,
        ).sum()
        loss = policy.loss_N.sum() + self.value_coefficient * value
        return torch.stack([loss, value, policy.clipped_N.sum()])
