"""A small Llama that is trained from scratch, with a tokenizer made from the run's own data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from farm.errors import ConfigError
from farm.models.tokenizers import TokenizerTrainer
from farm.seeds import seed_libraries
from farm.types import Instruction

GPT2_STD, GPT2_WIDTH = 0.02, 768
"""Weights start with this standard deviation at this width, and in proportion to 1 / sqrt(width) at
others: 0.02 at a width of 96 leaves attention nearly uniform, and copying is learned late."""


class FreshLlama:
    """A `ModelSource`: a randomly initialised Llama (arXiv 2302.13971) beside its tokenizer.

    Its positions reach to `max_prompt_tokens + max_new_tokens`. Raises ConfigError where
    `hidden_size` does not split into `heads` of even size.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self,
        tokenizer: TokenizerTrainer,
        hidden_size: int,
        layers: int,
        heads: int,
        intermediate_size: int,
        max_prompt_tokens: int,
        max_new_tokens: int,
        tie_embeddings: bool,
    ) -> None:
        sizes = {
            "hidden_size": hidden_size,
            "layers": layers,
            "heads": heads,
            "intermediate_size": intermediate_size,
            "max_prompt_tokens": max_prompt_tokens,
            "max_new_tokens": max_new_tokens,
        }
        for key, value in sizes.items():
            if value < 1:
                raise ConfigError(f"model.{key}={value}: must be at least 1.")
        if hidden_size % (2 * heads):
            raise ConfigError(
                f"model.hidden_size={hidden_size}: must be a multiple of 2 * model.heads "
                f"({2 * heads}), since rotary positions turn pairs of a head's dimensions."
            )
        self.tokenizer = tokenizer
        self.hidden_size = hidden_size
        self.layers = layers
        self.heads = heads
        self.intermediate_size = intermediate_size
        self.max_prompt_tokens = max_prompt_tokens
        self.max_new_tokens = max_new_tokens
        self.tie_embeddings = tie_embeddings

    def build(self, texts: Sequence[Instruction], work: Path, *, seed: int) -> str:
        """Train the tokenizer on the instructions and demonstrations, save both to `work`."""
        from transformers import LlamaConfig, LlamaForCausalLM

        from farm.models.load import save_policy

        tokenizer = self.tokenizer.train(_contents(texts))
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate_size,
            initializer_range=GPT2_STD * (GPT2_WIDTH / self.hidden_size) ** 0.5,
            max_position_embeddings=self.max_prompt_tokens + self.max_new_tokens,
            tie_word_embeddings=self.tie_embeddings,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        seed_libraries(seed, "fresh_model")
        save_policy(LlamaForCausalLM(config), tokenizer, work)
        return str(work)


def _contents(texts: Sequence[Instruction]) -> Iterator[str]:
    for instruction in texts:
        yield from (message.content for message in instruction.messages)
        if instruction.demonstration is not None:
            yield instruction.demonstration
