"""The memory table against published sizes, transformers' own models and a real optimiser."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from farm.memory import SHAPES, Shape, Training
from farm.models.adapters import add_lora

PUBLISHED = {  # parameters, from the models' cards
    "Qwen2.5 0.5B": 0.49e9,
    "Qwen2.5 1.5B": 1.54e9,
    "Llama 3.1 8B": 8.03e9,
    "Llama 3.1 70B": 70.6e9,
}
TINY = Shape("tiny", 3, 64, 96, 4, 2, 200, tied=False)


def _settings(shape: Shape) -> dict[str, int | bool]:
    return {
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
    }


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_parameters_are_those_of_the_model(shape: Shape) -> None:
    kind = (
        (Qwen2Config, Qwen2ForCausalLM) if shape.attention_bias else (LlamaConfig, LlamaForCausalLM)
    )
    with torch.device("meta"):
        model = kind[1](kind[0](**_settings(shape)))
    assert sum(p.numel() for p in model.parameters()) == shape.parameters
    assert shape.parameters == pytest.approx(PUBLISHED[shape.name], rel=0.01)


@pytest.mark.parametrize("rank", [None, 4])
def test_weights_gradients_and_moments_are_those_of_adamw(rank: int | None) -> None:
    model = LlamaForCausalLM(LlamaConfig(**_settings(TINY)))
    if rank is not None:
        model = add_lora(model, rank=rank, alpha=8, targets="all-linear")
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning)
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimizer.step()
    moments = [
        t.nbytes for s in optimizer.state.values() for name, t in s.items() if name != "step"
    ]
    expected = Training(3, 3, "float32", rank).memory(TINY)
    assert sum(p.nbytes for p in model.parameters()) == expected.weights
    assert sum(p.grad.nbytes for p in learning if p.grad is not None) == expected.gradients
    assert sum(moments) == expected.optimizer
    assert (expected.anchor == 0) == (rank is not None)


def test_activations_are_what_autograd_keeps() -> None:
    shape = Shape("wide", 4, 128, 352, 4, 4, 50, tied=False)
    model = LlamaForCausalLM(LlamaConfig(**_settings(shape), attn_implementation="sdpa"))
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, 50, (4, 64))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, labels=ids)
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    expected = Training(256, 256, "float32").memory(shape)
    assert found == pytest.approx(expected.activations + expected.logits, rel=0.1)


def test_checkpointing_keeps_less() -> None:
    plain, checkpointed = (
        Training(4096, 2048, "bfloat16", checkpointing=on).memory(SHAPES[1]) for on in (False, True)
    )
    assert checkpointed.activations < plain.activations / 10
    assert checkpointed.logits == plain.logits == 3 * 4 * 2048 * 151936


def test_shards_divide_what_is_held_and_gather_it_for_answers() -> None:
    shape = SHAPES[2]
    whole, part = (
        Training(8192, 4096, "bfloat16", checkpointing=True, shards=n).memory(shape) for n in (1, 8)
    )
    held = sum(whole[:4])
    assert held == 16 * shape.parameters + 4 * shape.parameters  # with the anchor
    assert sum(part[:4]) == pytest.approx(held / 8)
    assert part.drawing == 4 * shape.parameters
    assert part.peak == sum(part[:3]) + part.drawing  # answers take more than an update
    assert whole.peak == sum(whole)
