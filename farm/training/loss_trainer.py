"""Losses of our own in transformers' training loop.

A loss is a function of the model and the numbers of some rows. A batch that is too large for one
pass is worked off in parts of similar length, so that memory follows from `tokens_per_batch`
whatever the batch's size.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from transformers import Trainer, TrainingArguments

from farm.context import Context
from farm.training.batches import length_batches
from farm.training.offline import LossLearner, LossOfRows
from farm.training.precision import autocast_to
from farm.training.trainer import CheckpointSave, arguments, train


class RowLosses(NamedTuple):
    """What some rows add to a batch's loss."""

    losses_B: Tensor
    """One for each row; the batch's loss is their mean."""
    metrics: Mapping[str, Tensor]
    """By name, figures of rows or of tokens, detached; their means over the batch are logged."""


@runtime_checkable
class BatchAware(Protocol):
    """A loss of rows that also needs to know something of the whole batch."""

    def begin(self, model: Any, batch: Sequence[int]) -> None:
        """Called with the numbers of the batch's rows before any part of it is asked for."""
        ...

    def __call__(self, model: Any, rows: Sequence[int]) -> RowLosses:
        """The losses of some of them."""
        ...


class LossTrainer(Trainer):
    """Minimises the mean of `losses` over batches of row numbers."""

    order: list[int]

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        losses: LossOfRows,
        lengths: Sequence[int],
        tokens_per_batch: int,
    ) -> None:
        super().__init__(model, args, train_dataset=list(range(len(lengths))), data_collator=list)
        self.names: dict[str, str] = {}
        self._losses, self._lengths, self._limit = losses, lengths, tokens_per_batch
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """The batch's loss, its gradients accumulated."""
        model.train()
        if isinstance(self._losses, BatchAware):
            with self.compute_loss_context_manager():
                self._losses.begin(model, inputs)
        total = torch.zeros((), device=self.args.device)
        for part in length_batches([self._lengths[row] for row in inputs], self._limit):
            with self.compute_loss_context_manager():
                found = self._losses(model, [inputs[i] for i in part])
                loss = found.losses_B.sum() / len(inputs)
            self.accelerator.backward(loss)
            total += loss.detach()
            for name, figures in found.metrics.items():
                self._sums[name][0] += float(figures.sum())
                self._sums[name][1] += figures.numel()
        return total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The loop's own figures, and the losses' since the last time."""
        if "loss" in logs:
            means = {n: total / count for n, (total, count) in self._sums.items() if count}
            logs |= means
            self.names.clear()  # a batch of ties alone has no accuracy
            self.names.update({name: name for name in means})
            self._sums.clear()
        super().log(logs, start_time)

    def autocast_smart_context_manager(self, *_: Any) -> Any:
        """Losses call parts of the model, where accelerate's own autocast does not reach."""
        return autocast_to("bfloat16" if self.args.bf16 else "float32", self.args.device)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not asked for here: transformers estimates it from inputs of another form."""
        return 0

    def _get_train_sampler(self, *_: Any) -> list[int]:
        return self.order


def minimise(
    model: Any,
    losses: LossOfRows,
    lengths: Sequence[int],
    learner: LossLearner,
    context: Context,
    *,
    checkpoint: CheckpointSave | None = None,
    checkpoint_every: int | None = None,
) -> None:
    """Train `model` on rows of these `lengths` (tokens) as `learner` says; see
    `farm.training.trainer.train` for the checkpoints."""
    args = arguments(
        TrainingArguments,
        learner,
        context,
        steps=learner.steps(len(lengths)),
        resume_every=learner.resume_every,
        remove_unused_columns=False,
    )
    trainer = LossTrainer(model, args, losses, lengths, learner.tokens_per_batch)
    train(
        trainer,
        context,
        lengths=lengths,
        names=trainer.names,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
    )
