"""Log-probabilities and exact KL of given answers against plain forward passes."""

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from farm.generation.logprobs import (
    answer_kl,
    batches,
    by_rows,
    divergence,
    predict,
    response_batch,
    token_logprobs,
)
from farm.models.packing import allow_packing
from farm.seeds import generator, seed_libraries

SHAPE = {
    "vocab_size": 25,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
}


def llama(seed: int):
    seed_libraries(seed, "test_logprobs")
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()


@pytest.fixture(scope="module")
def rows() -> tuple[list[list[int]], list[list[int]]]:
    rng = generator(0, "test_logprobs")
    sizes = rng.integers(1, 9, (20, 2))
    pairs = [[rng.integers(0, 25, n).tolist() for n in pair] for pair in sizes]
    return [p for p, _ in pairs], [r for _, r in pairs]


def plain(model, prompt: list[int], response: list[int]) -> torch.Tensor:
    """log softmax [len(response), V] where the answer's tokens are predicted."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)


@pytest.mark.parametrize("prepare", [allow_packing, lambda model: model], ids=["packed", "padded"])
@pytest.mark.parametrize("tokens_per_batch", [1, 40, 10_000])
def test_logprobs_and_kl_equal_plain_passes(rows, prepare, tokens_per_batch: int) -> None:
    prompts, responses = rows
    policy, start = prepare(llama(0)), prepare(llama(1))
    found = {}
    with torch.inference_mode():
        for numbers, batch in batches(policy, prompts, responses, tokens_per_batch):
            logprobs_N = token_logprobs(predict(policy, batch).logits_N_V, batch.tokens_N)
            parts = torch.split(logprobs_N, [len(responses[i]) for i in numbers])
            found |= dict(zip(numbers, parts, strict=True))
    kl = answer_kl(policy, start, prompts, responses, tokens_per_batch=tokens_per_batch)
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        ours, theirs = plain(policy, prompt, response), plain(start, prompt, response)
        expected = ours[torch.arange(len(response)), response]
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=0)
        exact = torch.nn.functional.kl_div(theirs, ours, log_target=True, reduction="sum")
        assert kl[i] == pytest.approx(exact.item(), abs=1e-4)
    assert (kl > 0).all()
    np.testing.assert_allclose(answer_kl(policy, policy, prompts, responses), 0, atol=1e-5)


def test_what_a_model_does_behind_its_output_layer_stays_in_force() -> None:
    seed_libraries(0, "gemma")
    config = Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=2.0, pad_token_id=0)
    config._attn_implementation = "eager"
    model = Gemma2ForCausalLM(config).eval()
    prompt, response = [3, 4, 5], [6, 7]
    with torch.no_grad():
        found = predict(model, response_batch(model, [prompt], [response])).logits_N_V
    assert found.abs().max() < 2
    torch.testing.assert_close(
        found.log_softmax(-1), plain(model, prompt, response), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_logprobs_equal_those_of_a_log_softmax(monkeypatch, dtype) -> None:
    monkeypatch.setattr("farm.generation.logprobs._FLOAT32_AT_A_TIME", 3 * 25)
    rng = generator(0, "test_logprobs", "gradients")
    logits = torch.from_numpy(rng.normal(size=(10, 25)) * 4).to(dtype)
    tokens, weights = (
        torch.from_numpy(rng.integers(0, 25, 10)),
        torch.from_numpy(rng.normal(size=10)),
    )
    found, expected = (logits.clone().requires_grad_() for _ in range(2))
    ours = token_logprobs(found, tokens)
    theirs = expected.float().log_softmax(-1)[torch.arange(10), tokens]
    torch.testing.assert_close(ours, theirs)
    for logprobs in (ours, theirs):
        (logprobs * weights).sum().backward()
    close = 1e-6 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found.grad, expected.grad, atol=close, rtol=close)
    same = by_rows(divergence, logits.float(), logits.float() + 1)
    torch.testing.assert_close(same, torch.zeros(10), atol=1e-6, rtol=0)
