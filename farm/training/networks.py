"""What learns in a loop of ours, and how its parameters move."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from transformers import get_scheduler

from farm.context import Context
from farm.training.compute import weigh
from farm.training.holding import Holding
from farm.training.ranks import Ranks
from farm.training.schedule import LearningRateSchedule


@dataclass(frozen=True)
class Networks:
    """Torch modules by name, `model` (the policy) among them, with one optimiser."""

    modules: Mapping[str, Any]
    optimizer: Any
    scheduler: Any
    holding: Holding

    @property
    def model(self) -> Any:
        """The policy."""
        return self.modules["model"]

    def begin_step(self, context: Context) -> None:
        """Before anything is computed for a step of the optimiser."""
        steps = self.scheduler.last_epoch
        context.tuning.before_step(self.model, self.optimizer, steps, seed=context.seed)

    def step(self, max_grad_norm: float) -> None:
        """Move along the gradients that all ranks have accumulated, and forget them."""
        parameters = self.optimizer.param_groups[0]["params"]
        self.holding.add_gradients()
        clip_grad_norm_(parameters, max_grad_norm)
        self.optimizer.step()
        weigh([p for module in self.modules.values() for p in module.parameters()], self.optimizer)
        self.optimizer.zero_grad()
        self.scheduler.step()

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, for a resume file; whole on rank 0."""
        parts = {**self.modules, "optimizer": self.optimizer, "scheduler": self.scheduler}
        state = {name: part.state_dict() for name, part in parts.items()}
        found: dict[str, Any] = self.holding.gathered(state)
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.holding.restore(state, self.optimizer)
        self.scheduler.load_state_dict(state["scheduler"])


def networks(
    modules: Mapping[str, Any],
    *,
    learning_rate: float,
    adam_epsilon: float,
    lr_schedule: LearningRateSchedule,
    warmup_steps: int,
    optimizer_steps: int,
    ranks: Ranks,
) -> Networks:
    """The modules with AdamW over their trainable parameters, for so many steps."""
    holding = ranks.hold(modules)
    parameters = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
    optimizer = AdamW(parameters, learning_rate, eps=adam_epsilon, weight_decay=0.0, fused=True)
    scheduler = get_scheduler(
        lr_schedule,
        optimizer,
        num_warmup_steps=warmup_steps,
        num_training_steps=optimizer_steps,
    )
    return Networks(modules, optimizer, scheduler, holding)
