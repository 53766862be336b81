"""What learners on TRL's trainers share.

Rows reach the trainers as token ids (`farm.models.chat`), so nothing is rendered, tokenized,
cached or given a second end id there. A run is one pass over an order of rows that is fixed in
advance: batches of similar length, the same whether or not the run is interrupted.
"""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from farm.checks import require
from farm.context import Context
from farm.seeds import derive
from farm.training.batches import bucketed_order
from farm.training.compute import weigh
from farm.training.holding import Holding
from farm.training.precision import in_bfloat16
from farm.training.schedule import Schedule

Save = Callable[[Path], None]
CheckpointSave = Callable[[Any, Path], None]

_COMPLETE = "complete"

# TRL 1.16 goes by the name that transformers 5.23 has given up.
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated")


class HoldingTrainer:
    """Goes before a trainer in a class's bases: its model lies as the ranks hold it."""

    context: Context
    holding: Holding
    """From when the optimiser is made, after weights to resume from are loaded."""

    model: Any
    optimizer: Any
    lr_scheduler: Any
    state: Any

    def create_optimizer(self, model: Any = None) -> Any:
        """Over the parameters as they are held."""
        self.holding = self.context.ranks.hold(
            {"model": self.model}, divide_by=self.gradients_divided_by
        )
        self.is_distributed_loading_by_transformers = self.holding.reduces  # no DDP around it then
        return super().create_optimizer(model)  # type: ignore[misc]

    def begin_step(self) -> None:
        """Before anything is computed for a step."""
        context, step = self.context, self.state.global_step
        context.tuning.before_step(self.model, self.optimizer, step, seed=context.seed)

    @property
    def gradients_divided_by(self) -> float:
        """Where the backward pass adds them up over the ranks."""
        return 1.0

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        whole = self.holding.gathered(self.model.state_dict())
        if self.context.ranks.rank == 0:
            super()._save(output_dir, whole)  # type: ignore[misc]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = self.holding.gathered(self.optimizer.state_dict())
        if self.context.ranks.rank == 0:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.holding.restore_optimizer(_loaded(checkpoint, OPTIMIZER_NAME), self.optimizer)
            self.lr_scheduler.load_state_dict(_loaded(checkpoint, SCHEDULER_NAME))


def _loaded(checkpoint: str, name: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(
        Path(checkpoint) / name, map_location="cpu", weights_only=True
    )
    return state


class TokenIdTrainer(HoldingTrainer):
    """Goes before a TRL trainer in a class's bases: rows are token ids already, their order is
    given, and nothing is reported to anyone."""

    order: list[int]

    @property
    def gradients_divided_by(self) -> float:
        """Their losses are multiplied by the number of ranks."""
        return self.context.ranks.count

    def training_step(self, *arguments: Any, **settings: Any) -> Any:
        """As it is, begun as the tuning wants it."""
        self.begin_step()
        return super().training_step(*arguments, **settings)  # type: ignore[misc]

    def compute_loss(self, model: Any, *arguments: Any, **settings: Any) -> Any:
        """As it is, its weights there."""
        return self.holding.compute(
            lambda: super(TokenIdTrainer, self).compute_loss(model, *arguments, **settings)  # type: ignore[misc]
        )

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _get_train_sampler(self, *_: Any) -> list[int]:
        return self.order

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *_: Any, **__: Any) -> None:
        pass


def arguments(
    config_class: Any,
    schedule: Schedule,
    context: Context,
    *,
    steps: int,
    resume_every: int,
    **extra: Any,
) -> Any:
    """TRL's arguments (`SFTConfig`, ...) for `steps` steps in `context.work`, in the tuning's
    precision, with the state to resume from saved every `resume_every` steps. Raises ConfigError
    where the ranks cannot share a batch evenly."""
    # One process trains many times: forget the accelerator of a run that is over or was
    # interrupted. This is the only place that touches accelerate's state.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    ranks = context.ranks.count
    require(
        "batch_size", schedule.batch_size, f"a multiple of cluster.learners={ranks}",
        schedule.batch_size % ranks == 0,
    )  # fmt: skip
    args = config_class(
        output_dir=str(_resume_folder(context)),
        max_steps=steps,
        per_device_train_batch_size=schedule.batch_size // ranks,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=schedule.lr_schedule,
        warmup_steps=schedule.warmup_steps(steps),
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_grad_norm,
        seed=derive(context.seed, "trainer") % 2**32,
        save_strategy="steps",
        save_steps=resume_every,
        save_total_limit=2,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        bf16=in_bfloat16(context.tuning.precision, context.device),
        gradient_checkpointing=False,  # the tuning has prepared the model for it
        use_cpu=torch.device(context.device).type == "cpu",
        ddp_broadcast_buffers=False,
        dataloader_pin_memory=False,
        **extra,
    )
    # On a machine with several GPUs a process would spread over all of them (DataParallel) and take
    # a whole batch on each: a step would no longer be `schedule.batch_size` rows.
    args._n_gpu = 1
    return args


def train(
    trainer: Any,
    context: Context,
    *,
    lengths: Sequence[int],
    names: Mapping[str, str],
    checkpoint: CheckpointSave | None = None,
    checkpoint_every: int | None = None,
    order: Sequence[int] | None = None,
) -> None:
    """Run `trainer` to its end, from the last complete resume state if there is one.

    `lengths` are the rows' lengths in tokens, `names` maps TRL's metrics to ours, and
    `checkpoint(model, path)` saves a policy for evaluation: the last one and, where
    `checkpoint_every` is not None, those in between. `order` has the rows of all batches; None:
    `bucketed_order`'s.
    """
    args = trainer.args
    trainer.context = context
    if order is None:
        order = bucketed_order(
            lengths,
            batch_size=args.train_batch_size * args.world_size,
            steps=args.max_steps,
            seed=context.seed,
        )
    trainer.order = list(order)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Reports(context, names))
    trainer.add_callback(_Weighing())
    if checkpoint is not None:
        trainer.add_callback(_Checkpoints(trainer, context, checkpoint, checkpoint_every))
    state = _last_complete(_resume_folder(context))
    context.rewind_metrics(_step(state) if state else 0)
    trainer.train(resume_from_checkpoint=str(state) if state else None)
    trainer.holding.end()


def publish(context: Context, name: str, save: Save) -> Path:
    """`save` into `context.work / name`, which appears whole or not at all, and drop the resume
    state."""
    path = context.work / name

    def write() -> None:
        partial = path.with_name(f"{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        save(partial)
        partial.rename(path)
        shutil.rmtree(_resume_folder(context), ignore_errors=True)

    context.ranks.once(write)
    return path


class _Reports(TrainerCallback):
    """Each step's metrics, to the context."""

    def __init__(self, context: Context, names: Mapping[str, str]) -> None:
        self._context = context
        self._names = names

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:  # the closing summary has none
            names = {"loss": "loss", "learning_rate": "learning_rate", **self._names}
            metrics = {ours: float(logs[theirs]) for theirs, ours in names.items()}
            self._context.log(state.global_step, state.max_steps, metrics)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A kill can leave a resume state half written: only marked ones are continued."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (folder / _COMPLETE).touch()


class _Weighing(TrainerCallback):
    """Each step's memory, to the meter."""

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any, optimizer: Any, **_: Any
    ) -> None:
        weigh(list(model.parameters()), optimizer)


class _Checkpoints(TrainerCallback):
    """Policies to evaluate, to the context."""

    def __init__(
        self, trainer: HoldingTrainer, context: Context, save: CheckpointSave, every: int | None
    ) -> None:
        self._trainer, self._context, self._save, self._every = trainer, context, save, every

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        due = self._every is not None and step % self._every == 0
        if due or step == state.max_steps:
            with self._trainer.holding.whole():
                self._context.checkpoint(step, lambda path: self._save(self._trainer.model, path))


def _resume_folder(context: Context) -> Path:
    return context.work / "resume"


def _last_complete(folder: Path) -> Path | None:
    states = [marker.parent for marker in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return max(states, key=_step, default=None)


def _step(state: Path) -> int:
    return int(state.name.rpartition("-")[2])
