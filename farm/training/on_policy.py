"""What learners share that learn from answers they have just given: steps of rollout, judgment and
update, with checkpoints, an alarm, and a state to continue from."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from farm.checks import require, require_at_least
from farm.errors import DataError
from farm.seeds import derive, generator, seed_libraries
from farm.training.precision import autocast_to
from farm.training.schedule import LearningRateSchedule
from farm.types import Inputs, Instruction, PolicyRef

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context
    from farm.generation.engines import Engine
    from farm.training.episodes import Episodes, Observed, PerToken, Predictor
    from farm.training.networks import Networks

MinibatchLoss = Callable[[list[int], list[int]], "Mapping[str, Tensor]"]
"""(rows of one forward pass, all rows of the minibatch) -> what these rows add to the minibatch's
`loss` and other means."""


@dataclass
class Run:
    """One call of `fit`: what it learns from, what learns, and how far it has come."""

    instructions: Sequence[Instruction]
    prompts: list[list[int]]
    inputs: Inputs
    tokenizer: Any
    anchor: "Predictor"
    networks: "Networks"
    context: "Context"
    engine: "Engine"
    """Draws the answers."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What a learner remembers from step to step besides weights."""
    step: int = 0
    """Steps begun."""

    def state(self) -> dict[str, Any]:
        """All that a continued run needs: random numbers and the data cursor follow from `step`."""
        return {"step": self.step, "numbers": self.numbers, "networks": self.networks.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.networks.restore(state["networks"])
        self.step, self.numbers = state["step"], state["numbers"]


@dataclass(frozen=True)
class Answered:
    """A step's answers: who was asked, what was said, and what the policies think of it."""

    asked: list[Instruction]
    """One for each answer; those to one instruction are contiguous."""
    texts: list[str]
    episodes: "Episodes"
    observed: "Observed"


@dataclass(frozen=True, kw_only=True)
class OnPolicyLearner:
    """The keys of such a learner; its own class adds those of its loss. Raises `ConfigError`.

    Metrics of a step, of its answers before its update: those of
    `farm.training.episodes.describe`; learning_rate, episodes and prompts (so far), and what the
    class adds.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"resume_every"})

    max_prompt_tokens: int
    """Longer prompts lose tokens on their left."""
    max_new_tokens: int
    """An answer's limit in tokens."""
    episodes_per_step: int = 512
    """Answers sampled per step."""
    answers_per_prompt: int = 1
    epochs: int = 1
    """Passes over a step's answers."""
    minibatch_size: int = 128
    """Answers per step of the optimiser."""
    learning_rate: float = 5e-4
    warmup_steps: int = 5
    lr_schedule: LearningRateSchedule = "linear"
    adam_epsilon: float = 1e-5
    max_grad_norm: float = 1.0
    kl_limit: float | None = None
    """Nats per answer; training ends, with a note, when answers are further from the start."""
    rollout_batch_size: int = 512
    tokens_per_batch: int = 8192
    checkpoint_every: int | None = 5
    resume_every: int = 10

    def __post_init__(self) -> None:
        for key in (
            "max_prompt_tokens", "max_new_tokens", "episodes_per_step", "answers_per_prompt",
            "epochs", "minibatch_size", "rollout_batch_size", "tokens_per_batch",
            "checkpoint_every", "resume_every",
        ):  # fmt: skip
            require_at_least(key, getattr(self, key), 1)
        require_at_least("warmup_steps", self.warmup_steps, 0)
        for key in ("learning_rate", "adam_epsilon", "max_grad_norm"):
            require(key, getattr(self, key), "above 0", getattr(self, key) > 0)
        require("kl_limit", self.kl_limit, "above 0", self.kl_limit is None or self.kl_limit > 0)
        require(
            "episodes_per_step", self.episodes_per_step,
            f"a multiple of answers_per_prompt={self.answers_per_prompt}",
            self.episodes_per_step % self.answers_per_prompt == 0,
        )  # fmt: skip

    # ---------------------------------------------------------------- what a class adds

    @property
    def total_steps(self) -> int:
        """How many steps a whole run has."""
        raise NotImplementedError

    @property
    def rows_per_minibatch(self) -> int:
        """What `update` is given is cut into so many rows; they are answers here."""
        return self.minibatch_size

    @property
    def rows_per_step(self) -> int:
        """How many rows `update` is given."""
        return self.episodes_per_step

    def numbers(self) -> dict[str, Any]:
        """What the learner remembers, at the beginning."""
        return {}

    def modules(self, model: Any, tokenizer: Any, inputs: Inputs) -> dict[str, Any]:
        """What learns besides the policy, by name."""
        return {}

    def learn(self, run: Run) -> dict[str, float]:
        """One step: the metrics, kl_to_start among them."""
        raise NotImplementedError

    # ------------------------------------------------------------------------- the loop

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The learned policy."""
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
            finished = run.step == self.total_steps or self._alarm(run.step, kl_to_start, context)
            every = self.checkpoint_every
            if finished or (every is not None and run.step % every == 0):
                with run.networks.holding.whole():
                    context.checkpoint(run.step, save)
            if not finished and run.step % self.resume_every == 0:
                state = run.state()
                context.ranks.once(partial(save_state, state, context.work))
        with run.networks.holding.whole():
            publish(context, "policy", save)

    def _begin(self, start: PolicyRef, inputs: Inputs, context: "Context") -> Run:
        from farm.models import chat
        from farm.models.load import load_policy, load_tokenizer
        from farm.training.networks import networks

        if not inputs.instructions:
            raise DataError(
                f"{type(self).__name__} needs instructions, and the split `unlabeled` is empty."
            )
        tokenizer = load_tokenizer(start.path)
        seed_libraries(context.seed, type(self).__name__.lower())
        model = load_policy(start.path, context.device)
        model = context.tuning.apply(model, seed=context.seed)
        minibatches = -(-self.rows_per_step // self.rows_per_minibatch)
        return Run(
            instructions=inputs.instructions,
            prompts=chat.prompts_ids(
                tokenizer,
                [i.messages for i in inputs.instructions],
                max_prompt_tokens=self.max_prompt_tokens,
            ),
            inputs=inputs,
            tokenizer=tokenizer,
            anchor=context.tuning.anchor(model, start.path, context.device, context.ranks),
            networks=networks(
                {"model": model, **self.modules(model, tokenizer, inputs)},
                learning_rate=self.learning_rate,
                adam_epsilon=self.adam_epsilon,
                lr_schedule=self.lr_schedule,
                warmup_steps=self.warmup_steps,
                optimizer_steps=self.total_steps * self.epochs * minibatches,
                ranks=context.ranks,
            ),
            context=context,
            engine=context.engine_of(start),
            numbers=self.numbers(),
        )

    def _step(self, run: Run) -> float:
        """Learn, and log it; the answers' mean KL to the start, in nats."""
        began = time.perf_counter()
        metrics = self.learn(run)
        episodes = run.step * self.episodes_per_step
        counts = {
            "learning_rate": run.networks.scheduler.get_last_lr()[0],
            "episodes": episodes,
            "prompts": min(episodes // self.answers_per_prompt, len(run.prompts)),
            "episodes_per_s": self.episodes_per_step / (time.perf_counter() - began),
        }
        run.context.log(run.step, self.total_steps, {**metrics, **counts})
        return metrics["kl_to_start"]

    def _alarm(self, step: int, kl_to_start: float, context: "Context") -> bool:
        """Whether the policy has gone too far from its start; noted, if so."""
        if self.kl_limit is None or kl_to_start <= self.kl_limit:
            return False
        context.note(
            f"KL alarm at step {step}: answers are {kl_to_start:.1f} nats from the start, "
            f"method.kl_limit is {self.kl_limit:g}; training ended there."
        )
        return True

    # ---------------------------------------------------------------- parts of a step

    def answers(self, run: Run, others: "Sequence[PerToken]" = ()) -> Answered:
        """The step's answers, `answers_per_prompt` to each prompt drawn."""
        from farm.generation.moved import Asked
        from farm.models import chat
        from farm.training.episodes import draw, observe, rollout

        seed, n = run.context.seed, self.episodes_per_step
        each = self.answers_per_prompt
        drawn = draw(seed, len(run.prompts), (run.step - 1) * (n // each), n // each)
        rows = [row for row in drawn for _ in range(each)]
        asked = Asked(
            [run.prompts[row] for row in rows],
            [derive(seed, "rollout", run.step, slot) for slot in range(n)],
        )
        with run.networks.holding.whole():
            episodes = rollout(
                run.networks.model,
                run.engine,
                asked,
                run.context,
                max_new_tokens=self.max_new_tokens,
                stop_ids=chat.stop_ids(run.tokenizer),
                pad_id=run.tokenizer.pad_token_id,
                batch_size=self.rollout_batch_size,
            )
        with autocast_to(run.context.tuning.precision, run.context.device):
            observed = observe(
                run.networks.model, run.anchor, episodes, run.networks.holding, run.context.ranks,
                tokens_per_batch=self.tokens_per_batch, others=others,
            )  # fmt: skip
        texts = chat.decode_batch(run.tokenizer, episodes.responses)
        return Answered([run.instructions[row] for row in rows], texts, episodes, observed)

    def update(self, run: Run, lengths: Sequence[int], loss: MinibatchLoss) -> dict[str, float]:
        """Epochs of minibatches on a step's rows, of these lengths in tokens; the means over all
        minibatches, each before its own step."""
        means = []
        run.networks.model.train()  # where gradient checkpointing works; nothing drops out
        for epoch in range(self.epochs):
            rng = generator(run.context.seed, "minibatches", run.step, epoch)
            order = rng.permutation(len(lengths)).tolist()
            for begin in range(0, len(order), self.rows_per_minibatch):
                rows = order[begin : begin + self.rows_per_minibatch]
                means.append(self._minibatch(run, lengths, loss, rows))
        run.networks.model.eval()
        return {name: float(np.mean([mean[name] for mean in means])) for name in means[0]}

    def _minibatch(
        self, run: Run, lengths: Sequence[int], loss: MinibatchLoss, rows: list[int]
    ) -> dict[str, float]:
        """One step of the optimiser, however many forward passes it takes."""
        from torch.autograd import backward

        from farm.training.batches import length_batches

        ranks, holding = run.context.ranks, run.networks.holding
        run.networks.begin_step(run.context)
        mine = ranks.share(sorted(rows, key=lengths.__getitem__))
        batches = length_batches([lengths[row] for row in mine], self.tokens_per_batch)
        sums: dict[str, Tensor] = {}
        for part in holding.rounds([[mine[i] for i in batch] for batch in batches], rows[0]):
            with autocast_to(run.context.tuning.precision, run.context.device):
                found = holding.compute(partial(loss, part.rows, rows))
            backward(found["loss"] * part.counts)
            for name, figure in found.items():
                added = figure.detach().double() * part.counts
                sums[name] = sums[name] + added if name in sums else added
        run.networks.step(self.max_grad_norm)
        return _added(ranks.gather([{name: float(figure) for name, figure in sums.items()}]))


def _added(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Sums by name."""
    names = {name for part in parts for name in part}
    return {name: sum(part.get(name, 0.0) for part in parts) for name in sorted(names)}
