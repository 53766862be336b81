"""Adapters change nothing until they have learned, are merged into what is saved, and leave the
model in training alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_policy as toy
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MixtralConfig,
    MixtralForCausalLM,
)

from farm.errors import ConfigError
from farm.models.adapters import add_lora, without_adapters
from farm.models.load import load_policy, load_reward_model, load_tokenizer, save_policy
from farm.seeds import seed_libraries

SHAPE = {
    "vocab_size": 25,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "tied embeddings": lambda: GemmaForCausalLM(GemmaConfig(**SHAPE, head_dim=8)),
    "experts": lambda: MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=2)),
    "transposed weights with biases": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=25, n_embd=16, n_layer=2, n_head=2, pad_token_id=0)
    ),
}
IDS = torch.tensor([[1, 2, 3, 4, 5, 6]])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(toy.starting_policy(tmp_path_factory.mktemp("toy")).path)


def learned(model: Any) -> Any:
    """The model with adapters (and a head, if it has one) that do something."""
    seed_libraries(0, "test_adapters")
    add_lora(model, rank=4, alpha=8, targets="all-linear")
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(MODELS))
def test_saved_policies_compute_what_the_adapters_do(
    name: str, tokenizer: Any, tmp_path: Path
) -> None:
    start = MODELS[name]().eval()
    start.save_pretrained(tmp_path / "start")
    before = logits(start)
    model = learned(start)
    now = logits(model)
    assert (now - before).abs().max() > 0.1
    state = {key: weight.clone() for key, weight in model.state_dict().items()}
    save_policy(model, tokenizer, tmp_path / "saved")
    assert all(weight.equal(state[key]) for key, weight in model.state_dict().items())
    assert logits(model).equal(now)
    assert not (tmp_path / "saved" / "adapter_config.json").exists()
    close(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "saved")), now)
    onto = AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    close(logits(PeftModel.from_pretrained(onto, tmp_path / "saved" / "adapter")), now)


def test_a_reward_models_head_is_saved_with_its_adapter(tokenizer: Any, tmp_path: Path) -> None:
    start = LlamaForSequenceClassification(LlamaConfig(**SHAPE, num_labels=2))
    start.save_pretrained(tmp_path / "start")
    model = learned(start)
    save_policy(model, tokenizer, tmp_path / "saved")
    merged, onto = (
        LlamaForSequenceClassification.from_pretrained(tmp_path / folder, num_labels=2)
        for folder in ("saved", "start")
    )
    close(logits(merged), logits(model))
    close(logits(PeftModel.from_pretrained(onto, tmp_path / "saved" / "adapter")), logits(model))


def test_without_its_adapters_a_model_is_what_it_was() -> None:
    model = MODELS["llama"]().eval()
    before = logits(model)
    learned(model)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    with pytest.raises(ZeroDivisionError), without_adapters(model):
        assert logits(model).equal(before)
        raise ZeroDivisionError
    assert not logits(model).equal(before), "they are back, whatever happened"
    assert [name for name, p in model.named_parameters() if p.requires_grad] == trainable


def test_a_model_without_adapters_is_saved_as_it_is(tmp_path: Path) -> None:
    path = toy.starting_policy(tmp_path / "start").path
    save_policy(load_policy(path, "cpu"), load_tokenizer(path), tmp_path / "saved")
    assert toy.same_weights(path, tmp_path / "saved")
    assert not (tmp_path / "saved" / "adapter").exists()


def test_the_adapters_description_is_the_same_in_every_process(
    tokenizer: Any, tmp_path: Path
) -> None:
    """Layers in order, and no path of this machine."""
    path = toy.starting_policy(tmp_path / "start").path
    save_policy(learned(load_reward_model(path, "cpu")), tokenizer, tmp_path / "saved")
    described = json.loads((tmp_path / "saved" / "adapter" / "adapter_config.json").read_text())
    assert described["target_modules"] == sorted(described["target_modules"])
    assert len(described["target_modules"]) == 2 * 7, "of each block: attention 4, feed-forward 3"
    assert described["modules_to_save"] == ["score"], "the head"
    assert str(tmp_path) not in json.dumps(described)


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        (LlamaForCausalLM, ["nowhere"]),
        (LlamaForCausalLM, ["embed_tokens"]),
        (LlamaForCausalLM, ["q_proj", "lm_head"]),
        (LlamaForSequenceClassification, ["score"]),
    ],
)
def test_wrong_targets_name_their_key(model: Any, targets: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"tuning\.targets"):
        add_lora(model(LlamaConfig(**SHAPE)), rank=4, alpha=8, targets=targets)
