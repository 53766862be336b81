"""What learners share that make passes over rows which are there before they begin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from farm.checks import require_at_least
from farm.training.schedule import LearningRateSchedule, Schedule

if TYPE_CHECKING:
    from farm.context import Context
    from farm.training.loss_trainer import RowLosses

LossOfRows = Callable[[Any, Sequence[int]], "RowLosses"]
"""(model, numbers of rows) -> what each of them adds to the loss."""


@dataclass(frozen=True, kw_only=True)
class OfflineLearner(Schedule):
    """The keys of such a learner; its own class adds those of its loss. Raises `ConfigError`."""

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"resume_every"})

    max_prompt_tokens: int
    """Longer prompts lose tokens on their left."""
    max_new_tokens: int
    """Longer answers lose tokens on their right, and with them their end id."""
    epochs: float | None = 1.0
    max_steps: int | None = None
    batch_size: int = 128
    warmup_ratio: float = 0.03
    lr_schedule: LearningRateSchedule = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    resume_every: int = 100
    """Steps between states that an interrupted run continues from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("max_prompt_tokens", "max_new_tokens", "resume_every"):
            require_at_least(key, getattr(self, key), 1)


@dataclass(frozen=True, kw_only=True)
class LossLearner(OfflineLearner):
    """With a loss of ours; see `farm.training.loss_trainer`."""

    tokens_per_batch: int = 16384
    """Tokens in one forward pass; a batch may take several."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("tokens_per_batch", self.tokens_per_batch, 1)


def learn_policy(
    learner: LossLearner,
    model: Any,
    tokenizer: Any,
    losses: LossOfRows,
    lengths: Sequence[int],
    context: "Context",
    *,
    checkpoint_every: int | None,
    order: Sequence[int] | None = None,
) -> None:
    """Train `model` on rows of these lengths (tokens) and publish it as `context.work / "policy"`;
    every `checkpoint_every` steps, and at the end, as a checkpoint to evaluate. `order` as in
    `farm.training.loss_trainer.minimise`."""
    from farm.models.load import save_policy
    from farm.training.loss_trainer import minimise
    from farm.training.trainer import publish

    minimise(
        model,
        losses,
        lengths,
        learner,
        context,
        checkpoint=lambda model, path: save_policy(model, tokenizer, path),
        checkpoint_every=checkpoint_every,
        order=order,
    )
    publish(context, "policy", partial(save_policy, model, tokenizer))
