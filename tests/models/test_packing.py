"""Rows laid end to end must look as they do alone, in the forward pass and in gradients."""

from typing import Any

import pytest
import torch
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from farm.generation.logprobs import predict, response_batch, token_logprobs
from farm.models.packing import allow_packing, packing, packs
from farm.seeds import seed_libraries

SHAPE = {
    "vocab_size": 25,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SHAPE, head_dim=8, pad_token_id=0)),
    "window shorter than rows": lambda: MistralForCausalLM(
        MistralConfig(**SHAPE, sliding_window=4)
    ),
    "experts": lambda: MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=2)),
    "learned positions": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=25, n_embd=16, n_layer=2, n_head=2, attn_pdrop=0.0)
    ),
}
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11], [12, 13, 14, 15]]
RESPONSES = [[3, 4], [5, 6, 7, 8], [9, 10, 11], [12]]


def made(name: str) -> Any:
    seed_libraries(0, "test_packing")
    return MODELS[name]().eval()


def logprobs_and_gradients(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Of all answers in one batch."""
    batch = response_batch(model, PROMPTS, RESPONSES)
    found_N = token_logprobs(predict(model, batch).logits_N_V, batch.tokens_N)
    found_N.sum().backward()
    return found_N.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def one_by_one(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The same from a plain pass over each row alone."""
    found = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        found.append(logits.log_softmax(-1)[torch.arange(len(response)), response])
    torch.cat(found).sum().backward()
    return torch.cat(found).detach(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", list(MODELS))
def test_packed_rows_look_as_they_do_alone(name: str) -> None:
    model = allow_packing(made(name))
    assert packs(model)
    found_N, gradients = logprobs_and_gradients(model)
    expected_N, expected = one_by_one(made(name))
    torch.testing.assert_close(found_N, expected_N, atol=2e-5, rtol=0)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_a_model_with_a_state_along_the_sequence_is_not_packed() -> None:
    seed_libraries(0, "test_packing")
    config = MambaConfig(vocab_size=25, hidden_size=16, num_hidden_layers=2, state_size=4)
    model = allow_packing(MambaForCausalLM(config).eval())
    assert not packs(model)


def test_gradient_checkpointing_changes_nothing() -> None:
    model = allow_packing(made("llama"))
    model.activation_checkpointing_enable()
    model.train()
    found_N, gradients = logprobs_and_gradients(model)
    expected_N, expected = one_by_one(made("llama"))
    torch.testing.assert_close(found_N, expected_N, atol=2e-5, rtol=0)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_groups_pad_little_and_hold_every_token_once() -> None:
    lengths = [3, 3, 4, 9, 10, 30, 5]
    groups = packing(lengths)
    assert sum(g.tokens for g in groups) == sum(lengths)
    assert sum(g.rows for g in groups) == len(lengths)
    for group in groups:
        assert len(group.slots_n.unique()) == group.tokens
        assert group.rows * group.width <= 1.4 * group.tokens
