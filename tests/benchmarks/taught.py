"""Models of known answer lengths for the benchmarks: fresh Llamas over a random language."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from farm.data.records import user_instruction
from farm.models import chat
from farm.models.fresh import FreshLlama
from farm.models.load import load_policy, load_tokenizer
from farm.models.tokenizers import WordLevel
from farm.seeds import generator
from farm.types import Instruction

MAX_PROMPT_TOKENS = 48


@dataclass(frozen=True)
class Model:
    """Its shape, the number of words that it speaks, and how it is taught when to stop."""

    words: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    steps: int
    rows: int
    """Answers a step."""


TINY = Model(90, 96, 3, 4, 256, steps=80, rows=64)
MEDIUM = Model(7000, 512, 8, 8, 1536, steps=40, rows=24)


@dataclass(frozen=True)
class Taught:
    """A model that stops as it should, and prompts for it."""

    model: Any
    tokenizer: Any
    instructions: list[Instruction]
    prompts: list[list[int]]

    @property
    def end_id(self) -> int:
        """Ends an answer."""
        return int(chat.end_id(self.tokenizer))

    @property
    def pad_id(self) -> int:
        """Fills rows up."""
        return int(self.tokenizer.pad_token_id)

    def sampled(self, max_new_tokens: int) -> Any:
        """transformers' configuration of drawing from the whole distribution."""
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_new_tokens,
            eos_token_id=self.end_id,
            pad_token_id=self.pad_id,
        )


def teach(shape: Model, max_new_tokens: int, mean_length: int | None) -> Taught:
    """A model of this shape whose answers have geometrically distributed lengths in tokens or,
    where `mean_length` is None, no end."""
    rng = generator(0, "bench_ppo")
    words = [f"w{number}" for number in range(shape.words)]
    texts = [" ".join(rng.choice(words, rng.integers(10, 30))) for _ in range(2048)]
    instructions = [user_instruction(text) for text in texts]
    everything = user_instruction(" ".join(words), demonstration=" ".join(words))
    fresh = FreshLlama(
        tokenizer=WordLevel(),
        tie_embeddings=True,
        hidden_size=shape.hidden_size,
        layers=shape.layers,
        heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        max_prompt_tokens=MAX_PROMPT_TOKENS,
        max_new_tokens=max_new_tokens,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = fresh.build([everything], Path(folder) / "fresh", seed=0)
        tokenizer, model = load_tokenizer(path), load_policy(path)
    prompts = chat.prompts_ids(
        tokenizer, [i.messages for i in instructions], max_prompt_tokens=MAX_PROMPT_TOKENS
    )
    taught = Taught(model, tokenizer, instructions, prompts)
    _teach_to_stop(taught, shape, max_new_tokens, mean_length, rng)
    return taught


def _teach_to_stop(
    taught: Taught, shape: Model, limit: int, mean: int | None, rng: np.random.Generator
) -> None:
    """A few steps on random words."""
    import torch

    from farm.generation.logprobs import predict, response_batch, token_logprobs

    model, special = taught.model, taught.tokenizer.all_special_ids
    words = [token for token in range(len(taught.tokenizer)) if token not in special]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3 if shape is TINY else 5e-4)
    for _ in range(shape.steps):
        asked = [taught.prompts[i] for i in rng.integers(0, len(taught.prompts), shape.rows)]
        if mean is None:
            answers = [rng.choice(words, limit).tolist() for _ in asked]
        else:
            sizes = np.minimum(rng.geometric(1 / mean, shape.rows), limit)
            answers = [[*rng.choice(words, n - 1).tolist(), taught.end_id] for n in sizes]
        batch = response_batch(model, asked, answers)
        loss = -token_logprobs(predict(model, batch).logits_N_V, batch.tokens_N).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
