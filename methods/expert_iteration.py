"""Expert iteration (Dubois et al. 2023, arXiv 2305.14387): answer n times, keep the answer that the
reward likes best, and fine-tune the start on what was kept.

AlpacaFarm does one round with n = 16 on its 20,000 unlabeled instructions, and fine-tunes with the
settings of its SFT (learning rate 2e-5, 3 epochs, batch 128). More rounds answer with the policy of
the round before and fine-tune the start again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from farm.checks import require_at_least
from farm.errors import DataError
from farm.seeds import derive, generator
from farm.training.drawn import drawn_answers
from farm.training.links import link
from farm.types import BestOf, Inputs, Instruction, Need, PolicyRef
from methods.sft import SFT

if TYPE_CHECKING:
    from farm.context import Context


@dataclass(frozen=True, kw_only=True)
class ExpertIteration(SFT):
    """Chooses by `inputs.reward` on prompts from `inputs.instructions`; metrics are those of
    `methods.sft.SFT`, and episodes and prompts, drawn and answered so far.

    The answers kept in a round stand in `picks-ROUND.json`.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"instructions", "reward"})

    n: int = 16
    temperature: float = 1.0
    rounds: int = 1
    instructions: int | None = None
    """How many are answered in a round; None: all."""
    rollout_batch_size: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("n", self.n, 2)
        require_at_least("temperature", self.temperature, 0)
        for key in ("rounds", "instructions", "rollout_batch_size"):
            require_at_least(key, getattr(self, key), 1)

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """What the last round made of the start."""
        policy, before, drawn = start, 0, 0
        for number in range(self.rounds):
            picks = self._picks(policy, inputs, number, context)
            steps, drawn = self.steps(len(picks)), drawn + self.n * len(picks)
            part = link(
                context,
                f"round-{number + 1}",
                derive(context.seed, "round", number),
                before=before,
                total=self.rounds * steps,
                also={"episodes": drawn, "prompts": drawn // self.n},
            )
            policy = super().fit(start, Inputs(demonstrations=picks), part)
            before += steps
        return policy

    def _picks(
        self, policy: PolicyRef, inputs: Inputs, number: int, context: "Context"
    ) -> list[Instruction]:
        """The round's instructions with the answers that were kept for demonstrations."""
        assert inputs.reward is not None
        asked = self._asked(inputs.instructions or (), number, context.seed)
        path = context.work / f"picks-{number + 1}.json"
        if path.exists():
            texts = json.loads(path.read_text())
        else:
            texts = self._best_answers(policy, inputs, asked, number, context)
            context.keep(path.name, json.dumps(texts))
        return [replace(i, demonstration=t) for i, t in zip(asked, texts, strict=True)]

    def _asked(
        self, instructions: Sequence[Instruction], number: int, seed: int
    ) -> list[Instruction]:
        """Other ones in every round, as long as there are any."""
        if not instructions:
            raise DataError(
                "expert iteration needs instructions, and the split `unlabeled` is empty."
            )
        count = min(self.instructions or len(instructions), len(instructions))
        order = generator(seed, "asked").permutation(len(instructions))
        return [instructions[order[(number * count + i) % len(order)]] for i in range(count)]

    def _best_answers(
        self,
        policy: PolicyRef,
        inputs: Inputs,
        asked: Sequence[Instruction],
        number: int,
        context: "Context",
    ) -> list[str]:
        from farm.generation.best_of import BestOfSampler
        from farm.generation.sampler import FarmSampler

        assert inputs.reward is not None
        decoding = replace(policy.decoding, temperature=self.temperature)
        sampler = FarmSampler(
            PolicyRef(policy.path, decoding),
            batch_size=self.rollout_batch_size,
            max_prompt_tokens=self.max_prompt_tokens,
            device=context.device,
        )
        best = BestOfSampler(sampler, BestOf(self.n, self.temperature, inputs.reward))
        return drawn_answers(best, asked, context, seed=derive(context.seed, "experts", number))
