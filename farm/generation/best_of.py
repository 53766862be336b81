"""Best-of-n sampling (AlpacaFarm, arXiv 2305.14387: n samples at temperature 1, the argmax of the
reward model's score)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from farm.config import build
from farm.data.records import chunks
from farm.errors import ConfigError
from farm.generation.sampler import Speculator
from farm.protocols import Sampler
from farm.types import BestOf, Completion, Instruction, PolicyRef


class BestOfSampler:
    """Draws `best_of.n` answers for each that is asked for and keeps the one with the highest
    score; the first of equal ones, and one without a score only where none has any."""

    def __init__(self, sampler: Sampler, best_of: BestOf) -> None:
        self._sampler = sampler
        self._best_of = best_of

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        """n completions per instruction, those of one instruction contiguous."""
        size = self._best_of.n
        drawn = self._sampler.sample(instructions, n=n * size, seed=seed)
        asked = [instruction for instruction in instructions for _ in range(n * size)]
        scores = self._best_of.scorer.score(asked, [completion.text for completion in drawn])
        best = np.nan_to_num(scores, nan=-np.inf).reshape(-1, size).argmax(axis=1)
        return [
            replace(group[place], sample=number % n)
            for number, (group, place) in enumerate(zip(chunks(drawn, size), best, strict=True))
        ]


def sampler_of(node: Mapping[str, Any], policy: PolicyRef) -> Sampler:
    """The sampler that a config node describes, decoding as the policy asks. Raises ConfigError
    where it cannot."""
    if policy.best_of is not None:
        decoding = replace(policy.decoding, temperature=policy.best_of.temperature)
        one = replace(policy, decoding=decoding, best_of=None)
        return BestOfSampler(sampler_of(node, one), policy.best_of)
    sampler: Sampler = build(node)(policy=policy)
    if policy.speculation is not None and not isinstance(sampler, Speculator):
        raise ConfigError(
            f"sampler: {type(sampler).__name__} does not let a draft of ours propose; choose "
            "sampler=farm, or decoding=default."
        )
    return sampler
