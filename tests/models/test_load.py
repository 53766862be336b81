"""Saved policies are whole, pad tokens are none of the stop ids, nothing is pickled."""

import json
from pathlib import Path

import pytest
import template_families as families
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from farm.data.records import user_instruction
from farm.errors import ConfigError
from farm.models import chat
from farm.models.fresh import FreshLlama
from farm.models.load import (
    load_config,
    load_policy,
    load_reward_model,
    load_tokenizer,
    save_policy,
)
from farm.models.pretrained import Pretrained
from farm.models.tokenizers import ByteLevelBPE, WordLevel

TEXTS = [user_instruction("count the ducks", "three ducks"), user_instruction("be\nbrief", "ok")]
SMALL = {
    "hidden_size": 16,
    "layers": 1,
    "heads": 2,
    "intermediate_size": 32,
    "max_prompt_tokens": 8,
    "max_new_tokens": 8,
    "tie_embeddings": True,
}


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    """As base models come: dropout, no chat template, and one token that is bos, eos and pad."""
    tokenizer = families.plain()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


def test_a_new_pad_token_gets_an_embedding_and_changes_nothing_else(gpt2: Path) -> None:
    before = AutoModelForCausalLM.from_pretrained(gpt2).eval()
    tokenizer, model = load_tokenizer(gpt2), load_policy(gpt2)
    assert tokenizer.pad_token_id not in chat.stop_ids(tokenizer)
    known = before.get_input_embeddings().num_embeddings
    assert model.get_input_embeddings().num_embeddings == len(tokenizer) == known + 1
    assert tokenizer.pad_token_id not in chat.response_ids(tokenizer, tokenizer.pad_token)
    ids = torch.tensor([chat.prompt_ids(tokenizer, TEXTS[0].messages)])
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits[..., :known], before(ids).logits)
    weight = model.get_input_embeddings().weight
    torch.testing.assert_close(weight[known], weight[:known].mean(dim=0))


def test_no_dropout_even_in_training(gpt2: Path) -> None:
    model = load_policy(gpt2).train()
    ids = torch.arange(8)[None]
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_a_saved_policy_is_whole(gpt2: Path, tmp_path: Path) -> None:
    tokenizer, model = load_tokenizer(gpt2), load_policy(gpt2)
    save_policy(model, tokenizer, tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert chat.stop_ids(again) == chat.stop_ids(tokenizer)
    assert again.pad_token_id == tokenizer.pad_token_id
    assert chat.prompt_ids(again, TEXTS[0].messages) == chat.prompt_ids(
        AutoTokenizer.from_pretrained(tmp_path / "saved"), TEXTS[0].messages
    )
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    for ours, theirs in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert {p.suffix for p in (tmp_path / "saved").iterdir()} <= {".json", ".jinja", ".safetensors"}


def test_the_end_of_an_answer_counts_for_the_reward(gpt2: Path) -> None:
    """Where pad = eos, the reward model would look past the end and see no difference."""
    tokenizer, model = load_tokenizer(gpt2), load_reward_model(gpt2)
    assert model.config.num_labels == 1
    answer = chat.response_ids(tokenizer, "ok ok")
    pads = [tokenizer.pad_token_id] * 3
    with torch.no_grad():
        ended, padded, open_ended = (
            model(torch.tensor([ids])).logits.item()
            for ids in (answer, answer + pads, answer[:-1] + pads)
        )
    assert padded == pytest.approx(ended)
    assert open_ended != pytest.approx(ended)


def test_all_declared_stop_ids_end_an_answer(tmp_path: Path) -> None:
    tokenizer = families.llama3()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = [1, 4, 5]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert chat.stop_ids(loaded) == (1, 4, 5)
    assert chat.end_id(loaded) == 5
    assert loaded.pad_token_id not in (1, 4, 5)


@pytest.mark.parametrize("trainer", [WordLevel(), ByteLevelBPE(vocab_size=300)])
def test_a_fresh_llama_depends_on_its_seed_alone(
    trainer: WordLevel | ByteLevelBPE, tmp_path: Path
) -> None:
    source = FreshLlama(tokenizer=trainer, **SMALL)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        source.build(TEXTS, tmp_path / name, seed=seed)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    tokenizers = [(tmp_path / name / "tokenizer.json").read_bytes() for name in "ac"]
    assert tokenizers[0] == tokenizers[1]
    tokenizer = load_tokenizer(tmp_path / "a")
    for text in ("three ducks", "be\nbrief"):
        assert chat.decode(tokenizer, chat.response_ids(tokenizer, text)) == text


def test_words_outside_the_texts_are_unknown() -> None:
    tokenizer = WordLevel().train(["three ducks"])
    ids = chat.response_ids(tokenizer, "three geese")
    assert tokenizer.convert_ids_to_tokens(ids) == ["three", "<unk>", "<end>"]


def test_pretrained_gives_a_copy_and_the_hash_of_the_directory(gpt2: Path, tmp_path: Path) -> None:
    source = Pretrained(str(gpt2), max_prompt_tokens=32, max_new_tokens=32)
    copy = source.build([], tmp_path / "policy", seed=0)
    first = source.resolved()
    ids = torch.arange(8)[None]
    given, copied = load_policy(gpt2), load_policy(copy)
    with torch.no_grad():
        assert torch.equal(copied(ids).logits, given(ids).logits)
    assert load_tokenizer(copy).get_vocab() == load_tokenizer(gpt2).get_vocab()
    (gpt2 / "config.json").write_text(json.dumps(json.loads((gpt2 / "config.json").read_text())))
    assert source.resolved() != first


def test_pretrained_refuses_what_it_cannot_use(gpt2: Path, tmp_path: Path) -> None:
    def limits(prompt: int, new: int) -> dict[str, int]:
        return {"max_prompt_tokens": prompt, "max_new_tokens": new}

    with pytest.raises(ConfigError, match="no such directory"):
        Pretrained(str(tmp_path / "missing"), **limits(8, 8))
    with pytest.raises(ConfigError, match="has only 64 positions"):
        Pretrained(str(gpt2), **limits(60, 8)).build([], gpt2, seed=0)
    (gpt2 / "model.safetensors").rename(gpt2 / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="pickled weights"):
        Pretrained(str(gpt2), **limits(8, 8))
    with pytest.raises(ConfigError, match="safetensors"):
        load_policy(gpt2)


@pytest.mark.parametrize(
    ("key", "value"), [("layers", 0), ("hidden_size", 18), ("max_new_tokens", 0)]
)
def test_sizes_are_checked(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"model.{key}={value}"):
        FreshLlama(tokenizer=WordLevel(), **{**SMALL, key: value})


@pytest.mark.parametrize("config", [None, "{}", '{"model_type": "nobody_knows"}', "no json"])
def test_a_directory_that_transformers_cannot_read_is_named(gpt2: Path, config: str | None) -> None:
    if config is None:
        (gpt2 / "config.json").unlink()
    else:
        (gpt2 / "config.json").write_text(config)
    for load in (load_policy, load_config):
        with pytest.raises(ConfigError, match=f"model: {gpt2} cannot be loaded"):
            load(gpt2)


def test_a_directory_without_a_tokenizer_is_named(gpt2: Path) -> None:
    for file in gpt2.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ConfigError, match=f"model: {gpt2} has no tokenizer"):
        load_tokenizer(gpt2)
