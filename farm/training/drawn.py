"""Answers that a learner draws from a policy before it learns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm.protocols import Sampler
from farm.types import Instruction

if TYPE_CHECKING:
    from farm.context import Context

_CHUNK = 256
"""Instructions that are answered between two signs of life."""


def drawn_answers(
    sampler: Sampler, asked: Sequence[Instruction], context: "Context", *, seed: int
) -> list[str]:
    """One to each instruction, drawn by all ranks."""
    mine = context.ranks.share(asked)
    texts: list[str] = []
    for first in range(0, len(mine), _CHUNK):
        drawn = sampler.sample(mine[first : first + _CHUNK], n=1, seed=seed)
        texts += [completion.text for completion in drawn]
        if context.on_progress is not None:
            context.on_progress(len(texts), len(mine), {})
    return context.ranks.gather(texts)
