"""How a gradient-based learner steps; no torch here, so configurations are checked at once."""

import math
from dataclasses import dataclass
from typing import Literal

from farm.checks import require, require_at_least

LearningRateSchedule = Literal["cosine", "linear", "constant_with_warmup"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """AdamW's steps: how many, how large, on how much data. Raises `ConfigError`."""

    learning_rate: float
    """Peak, reached after the warm-up."""
    epochs: float | None
    """Passes over the rows; exactly one of `epochs` and `max_steps` is set."""
    max_steps: int | None
    """Optimiser steps."""
    batch_size: int
    """Rows per optimiser step, over all ranks."""
    warmup_ratio: float
    """Share of the steps over which the learning rate rises from 0."""
    lr_schedule: LearningRateSchedule
    """What follows the warm-up."""
    weight_decay: float
    """AdamW's decoupled weight decay."""
    max_grad_norm: float
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        require("learning_rate", self.learning_rate, "above 0", self.learning_rate > 0)
        require(
            "epochs",
            self.epochs,
            "set when max_steps is null, and null when max_steps is set",
            (self.epochs is None) != (self.max_steps is None),
        )
        require("epochs", self.epochs, "above 0", self.epochs is None or self.epochs > 0)
        require_at_least("max_steps", self.max_steps, 1)
        require_at_least("batch_size", self.batch_size, 1)
        require("warmup_ratio", self.warmup_ratio, "in [0, 1)", 0 <= self.warmup_ratio < 1)
        require_at_least("weight_decay", self.weight_decay, 0)
        require("max_grad_norm", self.max_grad_norm, "above 0", self.max_grad_norm > 0)

    def steps(self, rows: int) -> int:
        """Optimiser steps on `rows` rows."""
        if self.max_steps is not None:
            return self.max_steps
        assert self.epochs is not None
        return math.ceil(self.epochs * rows / self.batch_size)

    def warmup_steps(self, steps: int) -> int:
        """How many of `steps` the warm-up takes."""
        return math.ceil(self.warmup_ratio * steps)
