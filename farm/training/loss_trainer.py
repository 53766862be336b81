"""Losses of our own in transformers' training loop.

A loss is a function of the model and the numbers of some rows. A batch that is too large for one
pass is worked off in parts of similar length, so that memory follows from `tokens_per_batch`
whatever the batch's size. Every rank is told the whole batch and takes its share of it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from farm.context import Context
from farm.training.batches import length_batches
from farm.training.offline import LossLearner, LossOfRows
from farm.training.precision import autocast_to
from farm.training.trainer import CheckpointSave, HoldingTrainer, arguments, train


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


class LossTrainer(HoldingTrainer, Trainer):
    """Minimises the mean of `losses` over batches of row numbers."""

    order: list[int]
    """All batches' rows, one batch after the other."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        losses: LossOfRows,
        lengths: Sequence[int],
        tokens_per_batch: int,
        batch_size: int,
    ) -> None:
        super().__init__(model, args, train_dataset=list(range(len(lengths))), data_collator=list)
        self.names: dict[str, str] = {}
        self._losses, self._lengths, self._limit = losses, lengths, tokens_per_batch
        self._batch_size = batch_size
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def create_optimizer(self, model: Any = None) -> Any:
        """Gradients are added up here: accelerate shall not wrap the model for that."""
        optimizer = super().create_optimizer(model)
        self.is_distributed_loading_by_transformers = True
        return optimizer

    def _sync_replicated_trainable_parameters(self, model: Any) -> None:
        """They are alike, and are added up in `training_step`."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """The batch's loss, its gradients accumulated, both over all ranks."""
        self.begin_step()
        model.train()
        if isinstance(self._losses, BatchAware):
            with self.holding.whole(), self.compute_loss_context_manager():
                self._losses.begin(model, inputs)
        mine = self.context.ranks.share(sorted(inputs, key=self._lengths.__getitem__))
        batches = length_batches([self._lengths[row] for row in mine], self._limit)
        total = torch.zeros((), device=self.args.device)
        for part in self.holding.rounds([[mine[i] for i in batch] for batch in batches], inputs[0]):
            with self.compute_loss_context_manager():
                found = self.holding.compute(partial(self._losses, model, part.rows))
                loss = found.losses_B.sum() * part.counts / len(inputs)
            self.accelerator.backward(loss)
            total += loss.detach()
            for name, figures in found.metrics.items():
                self._sums[name][0] += float(figures.sum()) * part.counts
                self._sums[name][1] += figures.numel() * part.counts
        self.context.ranks.add([total])
        self.holding.add_gradients()
        return total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The loop's own figures, and the losses' since the last time."""
        if "loss" in logs:
            means = self._means()
            logs |= means
            self.names.clear()  # a batch of ties alone has no accuracy
            self.names.update({name: name for name in means})
            self._sums.clear()
        super().log(logs, start_time)

    def _means(self) -> dict[str, float]:
        """Of the metrics, over all ranks: one may have had no row that has them all."""
        everywhere = self.context.ranks.gather([dict(self._sums)])
        found: dict[str, tuple[float, float]] = {}
        for sums in everywhere:
            for name, (total, count) in sums.items():
                before = found.get(name, (0.0, 0.0))
                found[name] = before[0] + total, before[1] + count
        return {name: total / count for name, (total, count) in found.items() if count}

    def get_train_dataloader(self) -> DataLoader[int]:
        """Whole batches for every rank."""
        return DataLoader(self.train_dataset, self._batch_size, sampler=self.order, collate_fn=list)

    def autocast_smart_context_manager(self, *_: Any) -> Any:
        """Losses call parts of the model, where accelerate's own autocast does not reach."""
        return autocast_to("bfloat16" if self.args.bf16 else "float32", self.args.device)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not asked for here: transformers estimates it from inputs of another form."""
        return 0


def minimise(
    model: Any,
    losses: LossOfRows,
    lengths: Sequence[int],
    learner: LossLearner,
    context: Context,
    *,
    checkpoint: CheckpointSave | None = None,
    checkpoint_every: int | None = None,
    order: Sequence[int] | None = None,
) -> None:
    """Train `model` on rows of these `lengths` (tokens) as `learner` says; see
    `farm.training.trainer.train` for the checkpoints. `order` has the rows of all batches, one
    after the other, where the learner has its own; None: shuffled passes, as `learner` says."""
    args = arguments(
        TrainingArguments,
        learner,
        context,
        steps=learner.steps(len(lengths)) if order is None else len(order) // learner.batch_size,
        resume_every=learner.resume_every,
        remove_unused_columns=False,
    )
    trainer = LossTrainer(
        model, args, losses, lengths, learner.tokens_per_batch, learner.batch_size
    )
    train(
        trainer,
        context,
        lengths=lengths,
        names=trainer.names,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        order=order,
    )
