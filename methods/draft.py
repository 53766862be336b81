"""A draft for speculative sampling: the start's first blocks, fine-tuned on demonstrations.

It has the start's tokens, as it must, whatever model that is. Its laws need not be near: a bad
draft makes speculative sampling slow, never wrong (`farm.generation.speculative`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.checks import require_at_least
from farm.types import PolicyRef
from methods.sft import SFT

if TYPE_CHECKING:
    from farm.context import Context


@dataclass(frozen=True, kw_only=True)
class Draft(SFT):
    """`methods.sft.SFT` of a shallower model. Raises `ConfigError` where the start has fewer
    than `layers` blocks; with as many, a draft gains nothing."""

    layers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("layers", self.layers, 1)

    def model(self, start: PolicyRef, context: "Context") -> Any:
        """The start without its other blocks."""
        from farm.models.shallow import first_blocks

        return first_blocks(super().model(start, context), self.layers)
