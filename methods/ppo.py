"""Proximal policy optimisation from a reward (Schulman et al. 2017, arXiv 1707.06347), as
AlpacaFarm does it (Dubois et al. 2023, arXiv 2305.14387; rl/ppo_trainer.py).

Each step samples answers at temperature 1, scores them, turns scores and a per-token KL penalty to
the start policy into advantages, and takes a few epochs of clipped updates. Ours departs from
AlpacaFarm's, here and where the formulas are (`methods.ppo_loss`, `methods.ppo_value`):

- losses and whitening average over answer tokens; theirs over padding as well;
- the KL penalty is not clamped at zero, and the end of an answer is found by length;
- the reward is standardised once, by the start policy's own scores; theirs is rescaled every step,
  after the KL penalty went in, so that the penalty's strength drifts.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from farm.checks import require, require_at_least
from farm.data.records import last_user_text
from farm.errors import DataError
from farm.protocols import FloatArray, Scorer
from farm.seeds import derive, generator, seed_libraries
from farm.training.kl_control import KLController
from farm.training.schedule import LearningRateSchedule
from farm.types import Inputs, Instruction, Need, PolicyRef
from methods.ppo_value import ValueFunction

if TYPE_CHECKING:
    from farm.context import Context
    from farm.training.advantages import Advantages
    from methods.ppo_experience import Episodes, Observed

logger = logging.getLogger(__name__)


@dataclass
class _Run:
    """What changes while PPO learns, and what it learns from."""

    model: Any
    start: Any
    critic: Any
    optimizer: Any
    scheduler: Any
    tokenizer: Any
    instructions: Sequence[Instruction]
    prompts: list[list[int]]
    reward: Scorer
    context: "Context"
    kl_coefficient: float
    reward_mean: float | None = None
    """Of the start policy's first answers, with `reward_std`: fixed from then on."""
    reward_std: float = 1.0
    step: int = 0
    """Steps done."""

    _MODULES: ClassVar = ("model", "critic", "optimizer", "scheduler")
    _NUMBERS: ClassVar = ("kl_coefficient", "reward_mean", "reward_std", "step")

    def state(self) -> dict[str, Any]:
        """All that a continued run needs: random numbers and the data cursor follow from `step`."""
        modules = {name: getattr(self, name).state_dict() for name in self._MODULES}
        return modules | {name: getattr(self, name) for name in self._NUMBERS}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        for name in self._MODULES:
            getattr(self, name).load_state_dict(state[name])
        for name in self._NUMBERS:
            setattr(self, name, state[name])


class PPO:
    """Learns from `inputs.reward`, any `Scorer`, on prompts from `inputs.instructions`.

    Metrics of a step, all taken on its answers before its update but for the losses: reward
    (standardised, penalty included), proxy (raw), kl_to_start (nats per answer, exact per token),
    entropy (nats per token), length (tokens), stopped (share), loss, value_loss, clip_fraction,
    explained_variance, kl_coefficient, learning_rate, episodes (so far).
    Raises `ConfigError` for values out of range and `DataError` where the reward gives NaN.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"instructions", "reward"})
    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"resume_every"})

    def __init__(
        self,
        *,
        max_prompt_tokens: int,
        max_new_tokens: int,
        value: ValueFunction,
        kl: KLController,
        kl_estimator: Literal["k1", "k3"] = "k1",
        kl_limit: float | None = None,
        unstopped_penalty: float = 1.0,
        steps: int = 60,
        episodes_per_step: int = 512,
        epochs: int = 4,
        minibatch_size: int = 128,
        learning_rate: float = 1e-3,
        warmup_steps: int = 5,
        lr_schedule: LearningRateSchedule = "linear",
        adam_epsilon: float = 1e-5,
        max_grad_norm: float = 1.0,
        clip_ratio: float = 0.2,
        clip_value: float = 0.2,
        value_coefficient: float = 0.1,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        rollout_batch_size: int = 256,
        tokens_per_batch: int = 8192,
        checkpoint_every: int | None = 10,
        resume_every: int = 10,
    ) -> None:
        counts = {
            "max_prompt_tokens": max_prompt_tokens,
            "max_new_tokens": max_new_tokens,
            "steps": steps,
            "episodes_per_step": episodes_per_step,
            "epochs": epochs,
            "minibatch_size": minibatch_size,
            "rollout_batch_size": rollout_batch_size,
            "tokens_per_batch": tokens_per_batch,
            "checkpoint_every": checkpoint_every,
            "resume_every": resume_every,
        }
        for key, count in counts.items():
            require_at_least(key, count, 1)
        positive = {
            "kl_limit": kl_limit,
            "learning_rate": learning_rate,
            "adam_epsilon": adam_epsilon,
            "max_grad_norm": max_grad_norm,
            "clip_ratio": clip_ratio,
            "clip_value": clip_value,
        }
        for key, number in positive.items():
            require(key, number, "above 0", number is None or number > 0)
        for key, share in {"gamma": gamma, "gae_lambda": gae_lambda}.items():
            require(key, share, "in [0, 1]", 0 <= share <= 1)
        require_at_least("unstopped_penalty", unstopped_penalty, 0)
        require_at_least("value_coefficient", value_coefficient, 0)
        require_at_least("warmup_steps", warmup_steps, 0)
        self._max_prompt_tokens = max_prompt_tokens
        self._max_new_tokens = max_new_tokens
        self._value = value
        self._kl = kl
        self._kl_estimator = kl_estimator
        self._kl_limit = kl_limit
        self._unstopped_penalty = unstopped_penalty
        self._steps = steps
        self._episodes_per_step = episodes_per_step
        self._epochs = epochs
        self._minibatch_size = minibatch_size
        self._learning_rate = learning_rate
        self._warmup_steps = warmup_steps
        self._lr_schedule = lr_schedule
        self._adam_epsilon = adam_epsilon
        self._max_grad_norm = max_grad_norm
        self._clip_ratio = clip_ratio
        self._clip_value = clip_value
        self._value_coefficient = value_coefficient
        self._gamma = gamma
        self._gae_lambda = gae_lambda
        self._rollout_batch_size = rollout_batch_size
        self._tokens_per_batch = tokens_per_batch
        self._checkpoint_every = checkpoint_every
        self._resume_every = resume_every

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The policy that the reward prefers, near the start."""
        policy = context.work / "policy"
        if not policy.exists():
            self._fit(start, inputs, context)
        return PolicyRef(str(policy), start.decoding)

    def _fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> None:
        from farm.models.load import save_policy
        from farm.training.resume import load_state, save_state
        from farm.training.trainer import publish

        run = self._begin(start, inputs, context)
        if state := load_state(context.work):
            run.restore(state)
        context.rewind_metrics(run.step)
        save = partial(save_policy, run.model, run.tokenizer)
        finished = False
        while not finished:
            kl_to_start = self._step(run)
            finished = run.step == self._steps or self._alarm(run.step, kl_to_start)
            every = self._checkpoint_every
            if finished or (every is not None and run.step % every == 0):
                context.checkpoint(run.step, save)
            if not finished and run.step % self._resume_every == 0:
                save_state(run.state(), context.work)
        publish(context, "policy", save)

    def _begin(self, start: PolicyRef, inputs: Inputs, context: "Context") -> _Run:
        from torch.optim import AdamW
        from transformers import get_scheduler

        from farm.models import chat
        from farm.models.load import load_policy, load_tokenizer

        instructions, reward = inputs.instructions, inputs.reward
        if not instructions or reward is None:
            raise DataError("method=ppo: there is no instruction or no reward to learn from.")
        tokenizer = load_tokenizer(start.path)
        seed_libraries(context.seed, "ppo")
        model = context.tuning.apply(load_policy(start.path, context.device))
        critic = self._value.build(model, tokenizer, reward)
        parameters = [p for m in (model, critic) for p in m.parameters() if p.requires_grad]
        optimizer = AdamW(
            parameters, self._learning_rate, eps=self._adam_epsilon, weight_decay=0.0, fused=True
        )
        minibatches = -(-self._episodes_per_step // self._minibatch_size)
        return _Run(
            model=model,
            start=load_policy(start.path, context.device).requires_grad_(False),
            critic=critic,
            optimizer=optimizer,
            scheduler=get_scheduler(
                self._lr_schedule,
                optimizer,
                num_warmup_steps=self._warmup_steps,
                num_training_steps=self._steps * self._epochs * minibatches,
            ),
            tokenizer=tokenizer,
            instructions=instructions,
            prompts=chat.prompts_ids(
                tokenizer,
                [i.messages for i in instructions],
                max_prompt_tokens=self._max_prompt_tokens,
            ),
            reward=reward,
            context=context,
            kl_coefficient=self._kl.coefficient,
        )

    def _step(self, run: _Run) -> float:
        """One step; the mean KL of its answers to the start, in nats."""
        from methods.ppo_experience import observe

        began = time.perf_counter()
        run.step += 1
        chosen, episodes = self._rollout(run)
        observed = observe(
            run.model, run.start, run.critic, episodes, tokens_per_batch=self._tokens_per_batch
        )
        scores_B = _score(run, chosen, episodes)
        rewards_B = self._standardise(run, scores_B, episodes)
        advantages = self._advantages(run, rewards_B, episodes, observed)
        metrics = _describe(episodes, observed, advantages)
        metrics |= {"reward": float(rewards_B.mean()), "proxy": float(scores_B.mean())}
        metrics |= self._update(run, episodes, observed, advantages)
        metrics |= {
            "kl_coefficient": run.kl_coefficient,
            "learning_rate": run.scheduler.get_last_lr()[0],
            "episodes": run.step * self._episodes_per_step,
            "episodes_per_s": self._episodes_per_step / (time.perf_counter() - began),
        }
        run.context.log(run.step, self._steps, metrics)
        run.kl_coefficient = self._kl.update(run.kl_coefficient, metrics["kl_to_start"])
        return metrics["kl_to_start"]

    def _rollout(self, run: _Run) -> "tuple[list[Instruction], Episodes]":
        from farm.models import chat
        from methods.ppo_experience import draw, rollout

        seed, n = run.context.seed, self._episodes_per_step
        rows = draw(seed, len(run.prompts), (run.step - 1) * n, n)
        episodes = rollout(
            run.model,
            [run.prompts[i] for i in rows],
            row_seeds=[derive(seed, "rollout", run.step, slot) for slot in range(n)],
            max_new_tokens=self._max_new_tokens,
            stop_ids=chat.stop_ids(run.tokenizer),
            pad_id=run.tokenizer.pad_token_id,
            batch_size=self._rollout_batch_size,
        )
        return [run.instructions[i] for i in rows], episodes

    def _standardise(self, run: _Run, scores_B: FloatArray, episodes: "Episodes") -> FloatArray:
        """In units of the start policy's standard deviation, so that KL coefficients mean the same
        for every reward; minus a penalty where the answer ran into the limit. AlpacaFarm replaces
        the reward of such answers by -1, where it does anything."""
        if run.reward_mean is None:
            run.reward_mean, run.reward_std = float(scores_B.mean()), float(scores_B.std()) or 1.0
        unstopped_B = ~episodes.stopped_B.cpu().numpy()
        standard_B = (scores_B - run.reward_mean) / run.reward_std
        return np.asarray(standard_B - self._unstopped_penalty * unstopped_B)

    def _advantages(
        self, run: _Run, rewards_B: FloatArray, episodes: "Episodes", observed: "Observed"
    ) -> "Advantages":
        import torch

        from farm.training.advantages import gae, whiten
        from methods.ppo_loss import KL_ESTIMATORS, shaped_rewards

        kl_B_T = KL_ESTIMATORS[self._kl_estimator](
            observed.logprobs_B_T, observed.start_logprobs_B_T
        )
        shaped_B_T = shaped_rewards(
            torch.from_numpy(rewards_B).to(kl_B_T.device),
            kl_B_T,
            episodes.mask_B_T,
            run.kl_coefficient,
        )
        raw = gae(
            shaped_B_T,
            observed.values_B_T,
            episodes.mask_B_T,
            gamma=self._gamma,
            lambda_=self._gae_lambda,
        )
        return raw._replace(advantages_B_T=whiten(raw.advantages_B_T, episodes.mask_B_T))

    def _update(
        self, run: _Run, episodes: "Episodes", observed: "Observed", advantages: "Advantages"
    ) -> dict[str, float]:
        """Epochs of minibatches; the mean of their losses."""
        means = []
        for epoch in range(self._epochs):
            rng = generator(run.context.seed, "minibatches", run.step, epoch)
            order = rng.permutation(len(episodes.prompts))
            for begin in range(0, len(order), self._minibatch_size):
                rows = order[begin : begin + self._minibatch_size].tolist()
                means.append(self._minibatch(run, rows, episodes, observed, advantages))
        loss, losses_value, clipped = np.mean(means, axis=0)
        return {"loss": loss, "value_loss": losses_value, "clip_fraction": clipped}

    def _minibatch(
        self,
        run: _Run,
        rows: list[int],
        episodes: "Episodes",
        observed: "Observed",
        advantages: "Advantages",
    ) -> FloatArray:
        """One step of the optimiser on the mean over the minibatch's answer tokens: rows of similar
        length share a forward pass, and each pass counts by its tokens. The means of
        (loss, value loss, clipped)."""
        from torch.nn.utils import clip_grad_norm_

        from farm.generation.logprobs import batches

        prompts = [episodes.prompts[i] for i in rows]
        responses = [episodes.responses[i] for i in rows]
        tokens = sum(map(len, responses))
        means = np.zeros(3)
        for part, batch in batches(prompts, responses, self._tokens_per_batch, run.model.device):
            losses_3 = self._losses(
                run, batch, [rows[i] for i in part], episodes, observed, advantages
            )
            (losses_3[0] / tokens).backward()
            means += losses_3.detach().cpu().numpy() / tokens
        clip_grad_norm_(run.optimizer.param_groups[0]["params"], self._max_grad_norm)
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.scheduler.step()
        return means

    def _losses(
        self,
        run: _Run,
        batch: Any,
        rows: list[int],
        episodes: "Episodes",
        observed: "Observed",
        advantages: "Advantages",
    ) -> Any:
        """Sums over the rows' answer tokens of (loss, value loss, clipped)."""
        import torch

        from farm.generation.logprobs import predict, token_logprobs
        from methods.ppo_loss import policy_loss, value_loss

        mask = episodes.mask_B_T[rows]
        prediction = predict(run.model, batch)
        logprobs_N = token_logprobs(prediction.logits_N_V, batch.tokens_N)
        policy = policy_loss(
            logprobs_N,
            observed.logprobs_B_T[rows][mask],
            advantages.advantages_B_T[rows][mask],
            self._clip_ratio,
        )
        value = value_loss(
            run.critic(batch, prediction),
            observed.values_B_T[rows][mask],
            advantages.returns_B_T[rows][mask],
            self._clip_value,
        ).sum()
        loss = policy.loss_N.sum() + self._value_coefficient * value
        return torch.stack([loss, value, policy.clipped_N.sum()])

    def _alarm(self, step: int, kl_to_start: float) -> bool:
        """Whether the policy has gone too far from its start."""
        if self._kl_limit is None or kl_to_start <= self._kl_limit:
            return False
        logger.warning(
            "KL alarm at step %d: answers are %.1f nats from the start, method.kl_limit is %g; "
            "training ends here",
            step,
            kl_to_start,
            self._kl_limit,
        )
        return True


def _score(run: _Run, instructions: list[Instruction], episodes: "Episodes") -> FloatArray:
    from farm.models import chat

    texts = chat.decode_batch(run.tokenizer, episodes.responses)
    scores_B = run.reward.score(instructions, texts)
    missing = np.flatnonzero(np.isnan(scores_B))
    if missing.size:
        first = int(missing[0])
        raise DataError(
            f"the reward has no score (NaN) for {missing.size} of {len(texts)} answers. The first "
            f"is {texts[first]!r} to {last_user_text(instructions[first])!r}. PPO needs a reward "
            "that applies to every instruction of the split `unlabeled`."
        )
    return scores_B


def _describe(
    episodes: "Episodes", observed: "Observed", advantages: "Advantages"
) -> dict[str, float]:
    from farm.training.advantages import explained_variance, masked_mean

    mask = episodes.mask_B_T
    return {
        "kl_to_start": float(observed.kl_B_T.sum(1).mean()),
        "entropy": float(masked_mean(observed.entropy_B_T, mask)),
        "length": float(mask.sum(1).float().mean()),
        "stopped": float(episodes.stopped_B.float().mean()),
        "explained_variance": explained_variance(observed.values_B_T, advantages.returns_B_T, mask),
    }
