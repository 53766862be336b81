"""Samplers behind the protocol `Sampler`: ours, for policies that fit our decoding loop, and the
token ids of what a sampler draws."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from farm.errors import ConfigError
from farm.generation.engines import Engine, own_decoder
from farm.protocols import Sampler
from farm.seeds import derive
from farm.types import Completion, Instruction, PolicyRef

if TYPE_CHECKING:
    from farm.generation.moved import Answer, Asked


def policy_name(path: str) -> str:
    """The key of the artefact that a policy's path lies in, or the folder's own name."""
    folder = Path(path)
    return folder.parent.name if folder.name == "policy" else folder.name


class Drawn(NamedTuple):
    """Sampled answers as token ids, beside their prompts."""

    prompts: list[list[int]]
    responses: list[list[int]]
    """With the stop id at the end, where there is one."""
    stopped: list[bool]
    """Whether there is one; else the answer ran into the limit."""


@runtime_checkable
class IdSampler(Protocol):
    """A sampler that says which ids it drew."""

    def draw(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> Drawn:
        """What `sample` draws, as ids."""
        ...


def draw_one(
    sampler: Sampler,
    policy: PolicyRef,
    instructions: Sequence[Instruction],
    *,
    max_prompt_tokens: int,
    seed: int,
) -> Drawn:
    """One answer of the sampler's policy to each instruction: the very ids that were drawn, or,
    where the sampler gives texts alone, the texts' own, which may be others."""
    if isinstance(sampler, IdSampler):
        return sampler.draw(instructions, n=1, seed=seed)
    from farm.models import chat
    from farm.models.load import load_tokenizer

    tokenizer = load_tokenizer(policy.path)
    completions = sampler.sample(instructions, n=1, seed=seed)
    ended = chat.responses_ids(tokenizer, [completion.text for completion in completions])
    stopped = [completion.stopped for completion in completions]
    return Drawn(
        chat.prompts_ids(
            tokenizer,
            [i.messages for i in instructions],
            max_prompt_tokens=max_prompt_tokens,
            control=policy.decoding.control,
        ),
        [
            (ids if stops else ids[:-1])[: policy.decoding.max_new_tokens]
            for ids, stops in zip(ended, stopped, strict=True)
        ],
        stopped,
    )


class TokenSampler:
    """What samplers share that draw token ids: prompts, seeds, texts."""

    policy: PolicyRef
    max_prompt_tokens: int

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        """n completions per instruction, those of one instruction contiguous."""
        from farm.models import chat

        drawn = self.draw(instructions, n=n, seed=seed)
        texts = chat.decode_batch(self._tokenizer, drawn.responses)
        name = policy_name(self.policy.path)
        asked = [(instruction.id, sample) for instruction in instructions for sample in range(n)]
        return [
            Completion(id, text, name, sample, stopped)
            for (id, sample), text, stopped in zip(asked, texts, drawn.stopped, strict=True)
        ]

    def draw(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> Drawn:
        """What `sample` draws, as ids."""
        from farm.generation.moved import Asked
        from farm.models import chat

        prompts = chat.prompts_ids(
            self._tokenizer,
            [i.messages for i in instructions],
            max_prompt_tokens=self.max_prompt_tokens,
            control=self.policy.decoding.control,
        )
        asked = Asked(
            [prompt for prompt in prompts for _ in range(n)],
            [derive(seed, "sample", i.id, s) for i in instructions for s in range(n)],
        )
        decoding = self.policy.decoding
        found = self._answers(
            asked,
            {
                "max_new_tokens": decoding.max_new_tokens,
                "temperature": decoding.temperature,
                "stop_ids": chat.stop_ids(self._tokenizer),
                "pad_id": self._tokenizer.pad_token_id,
            },
        )
        return Drawn(asked.prompts, [a.ids for a in found], [a.stopped for a in found])

    def _answers(self, asked: "Asked", how: dict[str, Any]) -> "list[Answer]":
        """One to each prompt; `how` are keywords of `farm.generation.decode.decode`."""
        raise NotImplementedError

    @cached_property
    def _tokenizer(self) -> Any:
        from farm.models.load import load_tokenizer

        return load_tokenizer(self.policy.path)


class FarmSampler(TokenSampler):
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

    def engine(self) -> Engine:
        """The same loop, where the learner computes."""
        return own_decoder(self.policy)

    def _answers(self, asked: "Asked", how: dict[str, Any]) -> "list[Answer]":
        from farm.generation.moved import answers

        return answers(self._model, asked, {**how, "batch_size": self.batch_size})

    @cached_property
    def _model(self) -> Any:
        from farm.models.load import load_policy

        return load_policy(self.policy.path, self.device)
