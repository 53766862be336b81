"""Proximal policy optimisation from a reward (Schulman et al. 2017, arXiv 1707.06347), as
AlpacaFarm does it (Dubois et al. 2023, arXiv 2305.14387; rl/ppo_trainer.py).

Each step samples answers at temperature 1, scores them, turns scores and a per-token KL penalty to
the start policy into advantages, and takes a few epochs of clipped updates. Ours departs from
AlpacaFarm's, here and where the formulas are (`methods.ppo_loss`, `ppo_value`, `ppo_update`):

- losses and whitening average over answer tokens; theirs over padding as well;
- the KL penalty is not clamped at zero, and the end of an answer is found by length;
- the reward is standardised once, by the start policy's own scores; theirs is rescaled every step,
  after the KL penalty went in, so that the penalty's strength drifts.
"""

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
from methods.ppo_update import ClippedUpdate, Lesson, Networks
from methods.ppo_value import ValueFunction

if TYPE_CHECKING:
    from farm.context import Context
    from methods.ppo_experience import Episodes, Observed


@dataclass
class _Run:
    """One call of `fit`: what it learns from, what learns, and how far it has come."""

    instructions: Sequence[Instruction]
    prompts: list[list[int]]
    reward: Scorer
    tokenizer: Any
    start: Any
    networks: Networks
    context: "Context"
    kl_coefficient: float
    reward_mean: float | None = None
    """Of the start policy's first answers, like `reward_std`; fixed from then on."""
    reward_std: float = 1.0
    step: int = 0
    """Steps begun."""

    _NUMBERS: ClassVar = ("kl_coefficient", "reward_mean", "reward_std", "step")

    def state(self) -> dict[str, Any]:
        """All that a continued run needs: random numbers and the data cursor follow from `step`."""
        numbers = {name: getattr(self, name) for name in self._NUMBERS}
        return {"numbers": numbers, "networks": self.networks.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.networks.restore(state["networks"])
        for name, number in state["numbers"].items():
            setattr(self, name, number)


class PPO:
    """Learns from `inputs.reward`, any `Scorer`, on prompts from `inputs.instructions`.

    Metrics of a step, of its answers before its update: reward (standardised, penalty included),
    proxy (raw), kl_to_start (nats per answer, exact per token), entropy (nats per token), length
    (tokens), stopped (share), explained_variance; of its update: loss, value_loss, clip_fraction;
    and kl_coefficient, learning_rate, episodes (so far).
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
        steps: int = 40,
        episodes_per_step: int = 512,
        epochs: int = 4,
        minibatch_size: int = 128,
        learning_rate: float = 5e-4,
        warmup_steps: int = 5,
        lr_schedule: LearningRateSchedule = "linear",
        adam_epsilon: float = 1e-5,
        max_grad_norm: float = 1.0,
        clip_ratio: float = 0.2,
        clip_value: float = 0.2,
        value_coefficient: float = 0.1,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        rollout_batch_size: int = 512,
        tokens_per_batch: int = 8192,
        checkpoint_every: int | None = 5,
        resume_every: int = 10,
    ) -> None:
        self._update = ClippedUpdate(
            epochs=epochs,
            minibatch_size=minibatch_size,
            tokens_per_batch=tokens_per_batch,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            lr_schedule=lr_schedule,
            adam_epsilon=adam_epsilon,
            max_grad_norm=max_grad_norm,
            clip_ratio=clip_ratio,
            clip_value=clip_value,
            value_coefficient=value_coefficient,
        )
        require_at_least("max_prompt_tokens", max_prompt_tokens, 1)
        require_at_least("max_new_tokens", max_new_tokens, 1)
        require_at_least("steps", steps, 1)
        require_at_least("episodes_per_step", episodes_per_step, 1)
        require_at_least("rollout_batch_size", rollout_batch_size, 1)
        require_at_least("checkpoint_every", checkpoint_every, 1)
        require_at_least("resume_every", resume_every, 1)
        require_at_least("unstopped_penalty", unstopped_penalty, 0)
        require("kl_limit", kl_limit, "above 0", kl_limit is None or kl_limit > 0)
        require("gamma", gamma, "in [0, 1]", 0 <= gamma <= 1)
        require("gae_lambda", gae_lambda, "in [0, 1]", 0 <= gae_lambda <= 1)
        self._max_prompt_tokens = max_prompt_tokens
        self._max_new_tokens = max_new_tokens
        self._value = value
        self._kl = kl
        self._kl_estimator = kl_estimator
        self._kl_limit = kl_limit
        self._unstopped_penalty = unstopped_penalty
        self._steps = steps
        self._episodes_per_step = episodes_per_step
        self._gamma = gamma
        self._gae_lambda = gae_lambda
        self._rollout_batch_size = rollout_batch_size
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
        save = partial(save_policy, run.networks.model, run.tokenizer)
        finished = False
        while not finished:
            run.step += 1
            kl_to_start = self._step(run)
            finished = run.step == self._steps or self._alarm(run.step, kl_to_start, context)
            every = self._checkpoint_every
            if finished or (every is not None and run.step % every == 0):
                context.checkpoint(run.step, save)
            if not finished and run.step % self._resume_every == 0:
                save_state(run.state(), context.work)
        publish(context, "policy", save)

    def _begin(self, start: PolicyRef, inputs: Inputs, context: "Context") -> _Run:
        from farm.models import chat
        from farm.models.load import load_policy, load_tokenizer

        instructions, reward = inputs.instructions, inputs.reward
        if not instructions or reward is None:
            raise DataError("PPO needs instructions (split `unlabeled`) and a reward.")
        tokenizer = load_tokenizer(start.path)
        seed_libraries(context.seed, "ppo")
        model = context.tuning.apply(load_policy(start.path, context.device))
        return _Run(
            instructions=instructions,
            prompts=chat.prompts_ids(
                tokenizer,
                [i.messages for i in instructions],
                max_prompt_tokens=self._max_prompt_tokens,
            ),
            reward=reward,
            tokenizer=tokenizer,
            start=load_policy(start.path, context.device).requires_grad_(False),
            networks=self._update.networks(
                model,
                self._value.build(model, tokenizer, reward),
                steps=self._steps,
                episodes=self._episodes_per_step,
            ),
            context=context,
            kl_coefficient=self._kl.coefficient,
        )

    def _step(self, run: _Run) -> float:
        """Roll out, score, find advantages, update; the answers' mean KL to the start, in nats."""
        from methods.ppo_experience import describe

        began = time.perf_counter()
        asked, episodes, observed = self._rollout(run)
        scores_B = _score(run, asked, episodes)
        rewards_B = self._standardise(run, scores_B, episodes)
        lesson = self._lesson(run, rewards_B, episodes, observed)
        losses = self._update.run(
            run.networks,
            lesson,
            lambda epoch: generator(run.context.seed, "minibatches", run.step, epoch),
        )
        metrics = {
            "reward": float(rewards_B.mean()),
            "proxy": float(scores_B.mean()),
            **describe(episodes, observed, lesson.returns_B_T),
            **losses,
            "kl_coefficient": run.kl_coefficient,
            "learning_rate": run.networks.scheduler.get_last_lr()[0],
            "episodes": run.step * self._episodes_per_step,
            "episodes_per_s": self._episodes_per_step / (time.perf_counter() - began),
        }
        run.context.log(run.step, self._steps, metrics)
        run.kl_coefficient = self._kl.update(run.kl_coefficient, metrics["kl_to_start"])
        return float(metrics["kl_to_start"])

    def _rollout(self, run: _Run) -> "tuple[list[Instruction], Episodes, Observed]":
        from farm.models import chat
        from methods.ppo_experience import draw, observe, rollout

        seed, n = run.context.seed, self._episodes_per_step
        rows = draw(seed, len(run.prompts), (run.step - 1) * n, n)
        episodes = rollout(
            run.networks.model,
            [run.prompts[row] for row in rows],
            row_seeds=[derive(seed, "rollout", run.step, slot) for slot in range(n)],
            max_new_tokens=self._max_new_tokens,
            stop_ids=chat.stop_ids(run.tokenizer),
            pad_id=run.tokenizer.pad_token_id,
            batch_size=self._rollout_batch_size,
        )
        observed = observe(
            run.networks, run.start, episodes, tokens_per_batch=self._update.tokens_per_batch
        )
        return [run.instructions[row] for row in rows], episodes, observed

    def _standardise(self, run: _Run, scores_B: FloatArray, episodes: "Episodes") -> FloatArray:
        """In units of the start policy's standard deviation, so that KL coefficients mean the same
        for every reward; minus a penalty where the answer ran into the limit. AlpacaFarm replaces
        the reward of such answers by -1, where its penalty is on at all."""
        if run.reward_mean is None:
            run.reward_mean, run.reward_std = float(scores_B.mean()), float(scores_B.std()) or 1.0
        unstopped_B = ~episodes.stopped_B.cpu().numpy()
        standard_B = (scores_B - run.reward_mean) / run.reward_std
        return np.asarray(standard_B - self._unstopped_penalty * unstopped_B)

    def _lesson(
        self, run: _Run, rewards_B: FloatArray, episodes: "Episodes", observed: "Observed"
    ) -> Lesson:
        import torch

        from farm.training.advantages import gae, whiten
        from methods.ppo_loss import KL_ESTIMATORS, shaped_rewards

        mask, estimate = episodes.mask_B_T, KL_ESTIMATORS[self._kl_estimator]
        kl_B_T = estimate(observed.logprobs_B_T, observed.start_logprobs_B_T)
        rewards = torch.from_numpy(rewards_B).to(kl_B_T.device)
        shaped_B_T = shaped_rewards(rewards, kl_B_T, mask, run.kl_coefficient)
        advantages_B_T, returns_B_T = gae(
            shaped_B_T, observed.values_B_T, mask, gamma=self._gamma, lambda_=self._gae_lambda
        )
        return Lesson(
            episodes.prompts,
            episodes.responses,
            mask,
            observed.logprobs_B_T,
            observed.values_B_T,
            whiten(advantages_B_T, mask),
            returns_B_T,
        )

    def _alarm(self, step: int, kl_to_start: float, context: "Context") -> bool:
        """Whether the policy has gone too far from its start; noted, if so."""
        if self._kl_limit is None or kl_to_start <= self._kl_limit:
            return False
        context.note(
            f"KL alarm at step {step}: answers are {kl_to_start:.1f} nats from the start, "
            f"method.kl_limit is {self._kl_limit:g}; training ended there."
        )
        return True


def _score(run: _Run, asked: list[Instruction], episodes: "Episodes") -> FloatArray:
    """The reward's own numbers [B]."""
    from farm.models import chat

    texts = chat.decode_batch(run.tokenizer, episodes.responses)
    scores_B = np.asarray(run.reward.score(asked, texts), dtype=np.float64)
    missing = np.flatnonzero(np.isnan(scores_B))
    if missing.size:
        first = int(missing[0])
        raise DataError(
            f"the reward has no score (NaN) for {missing.size} of {len(texts)} answers. The first "
            f"is {texts[first]!r} to {last_user_text(asked[first])!r}. PPO needs a reward that "
            "applies to every instruction of the split `unlabeled`."
        )
    return scores_B
