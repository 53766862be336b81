"""Samplers behind the protocol `Sampler`: ours, for policies that fit our decoding loop."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from farm.errors import ConfigError
from farm.seeds import derive
from farm.types import Completion, Instruction, PolicyRef


def policy_name(path: str) -> str:
    """The key of the artefact that a policy's path lies in, or the folder's own name."""
    folder = Path(path)
    return folder.parent.name if folder.name == "policy" else folder.name


class FarmSampler:
    """Draws answers with `farm.generation.decode`.

    What is drawn depends on (policy, instruction, sample, seed, temperature) alone: not on
    `batch_size`, nor on which instructions are asked together. Raises ConfigError for sizes below 1
    and FarmError for models whose attention the loop does not know.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"batch_size", "device"})

    def __init__(
        self,
        policy: PolicyRef,
        batch_size: int,
        max_prompt_tokens: int,
        device: str | None = None,
    ) -> None:
        for key, value in (("batch_size", batch_size), ("max_prompt_tokens", max_prompt_tokens)):
            if value < 1:
                raise ConfigError(f"sampler.{key}={value}: must be at least 1.")
        self.policy = policy
        self.batch_size = batch_size
        self.max_prompt_tokens = max_prompt_tokens
        self.device = device

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        """n completions per instruction, those of one instruction contiguous."""
        from farm.generation.decode import decode
        from farm.models import chat

        model, tokenizer = self._loaded
        prompts = chat.prompts_ids(
            tokenizer,
            [i.messages for i in instructions],
            max_prompt_tokens=self.max_prompt_tokens,
        )
        draws = [(i, sample) for i in range(len(instructions)) for sample in range(n)]
        rollouts = decode(
            model,
            [prompts[i] for i, _ in draws],
            row_seeds=[derive(seed, "sample", instructions[i].id, s) for i, s in draws],
            max_new_tokens=self.policy.decoding.max_new_tokens,
            temperature=self.policy.decoding.temperature,
            stop_ids=chat.stop_ids(tokenizer),
            pad_id=tokenizer.pad_token_id,
            batch_size=self.batch_size,
        )
        texts = chat.decode_batch(tokenizer, rollouts.responses())
        name = policy_name(self.policy.path)
        return [
            Completion(instructions[i].id, text, name, sample, stopped)
            for (i, sample), text, stopped in zip(
                draws, texts, rollouts.stopped_B.tolist(), strict=True
            )
        ]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from farm.models.load import load_policy, load_tokenizer

        return load_policy(self.policy.path, self.device), load_tokenizer(self.policy.path)
