"""Which parameters learn, and how their gradients are computed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from farm.checks import require, require_at_least
from farm.models.blocks import transformer_blocks
from farm.seeds import generator
from farm.training.precision import Precision

if TYPE_CHECKING:
    from farm.training.anchor import AdapterOff, Anchor
    from farm.training.ranks import Ranks

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """The keys of every tuning. Raises `ConfigError`."""

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"compile"})

    precision: Precision = "auto"
    """Of matrix products; see `farm.training.precision`."""
    gradient_checkpointing: bool = False
    """Keep each block's input only and compute the block again for its gradients (Chen et al. 2016,
    arXiv 1604.06174); in force while the model is in training mode."""
    compile: bool = False
    """Fuse the blocks' small operations (torch.compile); the first steps wait for it."""

    def __post_init__(self) -> None:
        right = f"one of {', '.join(get_args(Precision))}"
        require("precision", self.precision, right, self.precision in get_args(Precision))

    def before_step(self, model: Any, optimizer: Any, step: int, *, seed: int) -> None:
        """Every step is like the others."""

    def _ready(self, model: Any) -> Any:
        """The model, its trainable parameters marked, as gradients are to be computed for it."""
        if self.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        if self.compile:
            # Not the last block, which is run at other positions with every batch.
            for block in transformer_blocks(model)[:-1]:
                block.compile(dynamic=True)
        learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
        everything = sum(p.numel() for p in model.parameters())
        logger.info("%d of %d parameters learn", learning, everything)
        return model


@dataclass(frozen=True, kw_only=True)
class Full(Gradients):
    """All parameters learn."""

    def apply(self, model: Any, *, seed: int) -> Any:
        """The model, every parameter marked trainable."""
        return self._ready(model.requires_grad_(True))

    def anchor(self, model: Any, path: str, device: str, ranks: "Ranks") -> "Anchor":
        """A second model."""
        from farm.training.anchor import Anchor

        return Anchor(path, device, ranks)


@dataclass(frozen=True, kw_only=True)
class LISA(Full):
    """Embeddings, the final norm and all heads learn always, of the transformer blocks a few at a
    time, which are drawn anew every so many steps (Pan et al. 2024, arXiv 2403.17919, algorithm 1).

    Blocks are drawn uniformly and without replacement. As in the paper's experiments, the
    optimiser's state of a block that is frozen again is dropped: gradients and moments are there
    for the drawn blocks alone. A critic beside the policy learns fully.
    """

    blocks: int = 2
    """The paper's gamma: blocks that learn at a time."""
    every: int = 20
    """The paper's K: steps of the optimiser between draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("blocks", self.blocks, 1)
        require_at_least("every", self.every, 1)

    def before_step(self, model: Any, optimizer: Any, step: int, *, seed: int) -> None:
        """Draw blocks, where it is time; a function of step and seed, alike on all ranks. Raises
        ConfigError where the model has fewer blocks."""
        blocks = transformer_blocks(model)
        right = f"at most {len(blocks)}, the blocks of the model"
        require("blocks", self.blocks, right, self.blocks <= len(blocks))
        rng = generator(seed, "lisa", step // self.every)
        drawn = set(rng.choice(len(blocks), self.blocks, replace=False).tolist())
        for number, block in enumerate(blocks):
            for parameter in block.parameters():
                parameter.requires_grad_(number in drawn)
                if number not in drawn:
                    parameter.grad = None
                    optimizer.state.pop(parameter, None)


@dataclass(frozen=True, kw_only=True)
class LoRA(Gradients):
    """Low-rank adapters learn beside frozen weights (Hu et al. 2021, arXiv 2106.09685, section
    4.1), and a reward model's head learns fully; see `farm.models.adapters`.

    There is no dropout, as in all our models: a policy that is sampled from and one that is
    updated must be the same.
    """

    rank: int = 16
    """Of the update of each matrix."""
    alpha: int = 32
    """The update is scaled by alpha / rank."""
    targets: Literal["all-linear"] | Sequence[str] = "all-linear"
    """Layers with adapters: all linear ones of the trunk, or the last parts of their names."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("rank", self.rank, 1)
        require_at_least("alpha", self.alpha, 1)
        require("targets", self.targets, "all-linear or names of layers", bool(self.targets))

    def apply(self, model: Any, *, seed: int) -> Any:
        """The model with adapters, which change nothing yet; the same for the same seed."""
        from farm.models.adapters import add_lora
        from farm.seeds import seed_libraries

        seed_libraries(seed, "lora")
        model = add_lora(model, rank=self.rank, alpha=self.alpha, targets=self.targets)
        return self._ready(model)

    def anchor(self, model: Any, path: str, device: str, ranks: "Ranks") -> "AdapterOff":
        """The model itself, its adapters off: no second one in memory."""
        from farm.training.anchor import AdapterOff

        return AdapterOff(model)
