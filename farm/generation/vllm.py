"""vLLM behind the protocol `Sampler`, for policies too large for our own loop. Not yet run."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from farm.errors import ConfigError
from farm.generation.sampler import policy_name
from farm.seeds import derive
from farm.types import Completion, Instruction, PolicyRef


class VllmSampler:
    """Draws answers with vLLM (extra `vllm`; needs a GPU). Not yet run.

    Every request has its own seed, but vLLM does not promise the same answer for another batch,
    so results may depend on it.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"gpu_memory_utilization"})
    requires: ClassVar[Mapping[str, str]] = {
        "vllm": 'pip install "farm[vllm]", or choose sampler=farm'
    }

    def __init__(
        self,
        policy: PolicyRef,
        max_prompt_tokens: int,
        dtype: str,
        gpu_memory_utilization: float,
    ) -> None:
        if not 0 < gpu_memory_utilization <= 1:
            raise ConfigError(
                f"sampler.gpu_memory_utilization={gpu_memory_utilization}: must lie in (0, 1]."
            )
        self.policy = policy
        self.max_prompt_tokens = max_prompt_tokens
        self.dtype = dtype
        self.gpu_memory_utilization = gpu_memory_utilization

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        """n completions per instruction, those of one instruction contiguous."""
        from vllm import SamplingParams

        from farm.models import chat
        from farm.models.load import load_tokenizer

        tokenizer = load_tokenizer(self.policy.path)
        prompts = chat.prompts_ids(
            tokenizer,
            [i.messages for i in instructions],
            max_prompt_tokens=self.max_prompt_tokens,
            control=self.policy.decoding.control,
        )
        draws = [(i, sample) for i in range(len(instructions)) for sample in range(n)]
        requests = [
            SamplingParams(
                temperature=self.policy.decoding.temperature,
                max_tokens=self.policy.decoding.max_new_tokens,
                stop_token_ids=list(chat.stop_ids(tokenizer)),
                seed=derive(seed, "sample", instructions[i].id, sample),
            )
            for i, sample in draws
        ]
        outputs = self._engine.generate(
            [{"prompt_token_ids": prompts[i]} for i, _ in draws], requests
        )
        answers = [output.outputs[0] for output in outputs]
        texts = chat.decode_batch(tokenizer, [answer.token_ids for answer in answers])
        name = policy_name(self.policy.path)
        return [
            Completion(instructions[i].id, text, name, sample, answer.finish_reason == "stop")
            for (i, sample), text, answer in zip(draws, texts, answers, strict=True)
        ]

    @cached_property
    def _engine(self) -> Any:
        from vllm import LLM

        return LLM(
            self.policy.path,
            dtype=self.dtype,
            gpu_memory_utilization=self.gpu_memory_utilization,
            max_model_len=self.max_prompt_tokens + self.policy.decoding.max_new_tokens,
        )
