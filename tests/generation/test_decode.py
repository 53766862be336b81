"""The decoding loop against transformers' own, and its independence of batching."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig

from farm.errors import FarmError
from farm.generation.cache import check_attention
from farm.generation.decode import decode
from farm.generation.drawing import Rollouts, choose, draw, uniforms
from farm.seeds import derive, generator, seed_libraries

PAD, STOP, VOCABULARY = 0, 1, 30
NEW = 12


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest):
    seed_libraries(0, "test_decode", request.param)
    if request.param == "llama":
        shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        config = LlamaConfig(vocab_size=VOCABULARY, **shape, **heads, initializer_range=0.3)
        return LlamaForCausalLM(config).eval()
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    config.initializer_range = 0.3
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    rng = generator(0, "test_decode")
    return [rng.integers(2, VOCABULARY, rng.integers(1, 15)).tolist() for _ in range(41)]


def run(model, prompts: list[list[int]], *, temperature: float, batch_size: int = 64) -> Rollouts:
    return decode(
        model,
        prompts,
        row_seeds=[derive(0, "sample", *p) for p in prompts],
        max_new_tokens=NEW,
        temperature=temperature,
        stop_ids=[STOP, 7],
        pad_id=PAD,
        batch_size=batch_size,
    )


def test_greedy_equals_transformers_generate(model, prompts) -> None:
    ours = run(model, prompts, temperature=0).responses()
    for prompt, response in zip(prompts, ours, strict=True):
        theirs = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt)),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=[STOP, 7],
            pad_token_id=PAD,
        )
        assert response == theirs[0, len(prompt) :].tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logprobs_equal_a_plain_forward(model, prompts, temperature: float) -> None:
    rollouts = run(model, prompts, temperature=temperature)
    for i, (prompt, response) in enumerate(zip(prompts, rollouts.responses(), strict=True)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        expected = (logits / (temperature or 1)).log_softmax(-1)
        expected = expected[torch.arange(len(response)), response]
        torch.testing.assert_close(
            rollouts.logprobs_B_T[i, : len(response)], expected, atol=1e-5, rtol=0
        )


def test_results_do_not_depend_on_batch_size_or_order(model, prompts) -> None:
    whole = run(model, prompts, temperature=1).responses()
    assert run(model, prompts, temperature=1, batch_size=1).responses() == whole
    assert run(model, prompts, temperature=1, batch_size=7).responses() == whole
    assert run(model, prompts[::-1], temperature=1, batch_size=16).responses() == whole[::-1]


def test_a_row_ends_at_its_first_stop_id_or_at_the_limit(model, prompts) -> None:
    rollouts = run(model, prompts, temperature=1)
    assert 0 < int(rollouts.stopped_B.sum()) < len(prompts)
    for tokens, mask, logprobs, stopped in zip(
        rollouts.tokens_B_T, rollouts.mask_B_T, rollouts.logprobs_B_T, rollouts.stopped_B,
        strict=True,
    ):  # fmt: skip
        n = int(mask.sum())
        assert mask[:n].all() and (tokens[n:] == PAD).all() and (logprobs[n:] == 0).all()
        is_stop = torch.isin(tokens[:n], torch.tensor([STOP, 7]))
        assert not is_stop[:-1].any() and bool(is_stop[-1]) == bool(stopped)
        assert stopped or n == NEW


def test_samples_follow_the_distribution() -> None:
    logits = torch.tensor([1.0, -1.0, 0.5, -torch.inf, 2.0])
    draws = 20_000
    uniform = torch.from_numpy(uniforms(range(draws), 1)[:, 0])
    tokens, logprobs = choose(logits.expand(draws, 5), uniform, 0.5)
    share = torch.bincount(tokens, minlength=5) / draws
    expected = (logits / 0.5).softmax(-1)
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)
    torch.testing.assert_close(logprobs, expected.log()[tokens])


def test_uniforms_are_counter_based_and_uniform() -> None:
    # The first outputs of SplitMix64 from state 1234567, as its reference implementation gives.
    reference = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    np.testing.assert_array_equal(uniforms([1234567], 3)[0], [(z >> 11) / 2**53 for z in reference])
    many = uniforms(range(1000), 100)
    np.testing.assert_array_equal(many[17, :5], uniforms([17], 5)[0])
    assert abs(many.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(many[:, 0], many[:, 1])[0, 1]) < 0.1


def test_unknown_attention_is_refused() -> None:
    check_attention(MistralConfig(sliding_window=100), 100)
    with pytest.raises(FarmError, match="window is 100"):
        check_attention(MistralConfig(sliding_window=100), 101)
    check_attention(MistralConfig(sliding_window=None), 1000)
    config = LlamaConfig()
    config.layer_types = ["linear_attention"]
    with pytest.raises(FarmError, match="linear_attention"):
        check_attention(config, 10)


def test_a_large_vocabulary_is_inverted_like_a_small_one() -> None:
    """Block by block; the last block is a part of one."""
    rng = generator(0, "test_decode", "large")
    weights = torch.from_numpy(rng.random((3, 2500)) ** 8).float()
    weights[1, :2000] = 0
    weights[2, 999:] = 0
    for uniform in (0.0, 0.1, 0.5, 0.77, 0.999, 1 - 2**-53):
        uniform_B = torch.full((3,), uniform, dtype=torch.float64)
        cdf = weights.double().cumsum(-1)
        expected = torch.searchsorted(cdf, uniform_B[:, None] * cdf[:, -1:], right=True)[:, 0]
        assert draw(weights, uniform_B).tolist() == expected.tolist()
