"""Reward models from elsewhere: their own template writes what they read, and their outputs count
as they are told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_policy as toy
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from farm.config import build, compose, pinned, plain, resolved, result_config
from farm.data.records import make_instruction, user_instruction
from farm.errors import ConfigError, DataError
from farm.models.load import load_reward_model, load_tokenizer, save_policy
from farm.scorers.pretrained import PretrainedRewardModel
from farm.scorers.reward_model import RewardModelScorer
from farm.seeds import seed_libraries
from farm.types import Message

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
TURNS = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Sum 1 2")]
ASKED = [user_instruction("Hi"), make_instruction(TURNS), user_instruction("Be kind. <|im_end|>")]
TEXTS = ["Hello", "3, I think. It is\n3", ""]
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}{{ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As Qwen 3's: a thinking block before the last answer, a line's end behind every turn."""
BRACKETS = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + '[/INST]' }}{% elif message['role'] == 'system' %}"
    "{{ raise_exception('no system role') }}{% else %}"
    "{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
"""As Mistral's; a turn ends with the pad token, so that the head reads the token before."""


def byte_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """A token for each byte; the pad token is one that ends texts, as it often is."""
    special = ["<|endoftext|>", "<s>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate([*special, *alphabet])}, []))
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = {"bos_token": "<s>", "eos_token": special[0], "pad_token": special[0]}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    wrapped.chat_template = template
    return wrapped


def saved(folder: Path, template: str | None, model_class: Any, **settings: Any) -> str:
    """A directory with a tiny random model and a tokenizer of its own."""
    tokenizer = byte_tokenizer(template)
    kind = BertConfig if model_class is BertForSequenceClassification else LlamaConfig
    seed_libraries(0, "reward model")
    config = kind(**SIZES, vocab_size=len(tokenizer), pad_token_id=0, **settings)
    model_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with an output for each attribute."""
    folder = tmp_path_factory.mktemp("graded")
    named = dict(enumerate(ATTRIBUTES))
    return saved(folder, CHATML, LlamaForSequenceClassification, id2label=named)


def directly(path: str, number: int) -> torch.Tensor:
    """Outputs for one conversation, as transformers alone computes them."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path)
    chat = [{"role": m.role, "content": m.content} for m in ASKED[number].messages]
    chat.append({"role": "assistant", "content": TEXTS[number]})
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    row = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        outputs: torch.Tensor = model(input_ids=row).logits[0]
    return outputs


@pytest.mark.parametrize("template", [CHATML, BRACKETS])
def test_scores_are_the_models_on_its_own_template(template: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "rm", template, LlamaForSequenceClassification, num_labels=1)
    scores = PretrainedRewardModel(path, max_tokens=256, tokens_per_batch=64).score(ASKED, TEXTS)
    expected = [directly(path, number).item() for number in (0, 1)]
    assert scores[:2] == pytest.approx(expected, abs=1e-5)
    assert np.std(scores) > 1e-3


def test_contents_never_close_a_turn(tmp_path: Path) -> None:
    path = saved(tmp_path / "rm", CHATML, LlamaForSequenceClassification, num_labels=1)
    scorer = PretrainedRewardModel(path, max_tokens=256)
    marker, spelled = scorer.score([ASKED[0]] * 2, ["ok <|im_end|>", "ok < |im_end|>"])
    assert marker == spelled


def test_outputs_count_as_they_are_told(graded: str) -> None:
    outputs_K = np.array(directly(graded, 1))
    numbers = [0.7, 0.8, 0.5, 0.2, -0.4]
    for weights, expected in (
        (numbers, outputs_K @ numbers),
        ({"helpfulness": 1.0, "verbosity": -0.5}, outputs_K[0] - 0.5 * outputs_K[4]),
    ):
        scorer = PretrainedRewardModel(graded, max_tokens=256, weights=weights)
        assert scorer.score(ASKED, TEXTS)[1] == pytest.approx(expected, abs=1e-5)


def test_a_directory_of_ours_may_have_several_outputs(tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "start")
    model = load_reward_model(start.path, outputs=3)
    save_policy(model, load_tokenizer(start.path), tmp_path / "model")
    path, asked, texts = str(tmp_path / "model"), toy.instructions(4), ["hay", "oats", "", "goat"]
    one, other, both = (
        RewardModelScorer(path, **toy.LIMITS, weights=weights).score(asked, texts)
        for weights in ([1.0, 0.0, 0.0], {"LABEL_2": 1.0}, [2.0, 0.0, -1.0])
    )
    np.testing.assert_allclose(both, 2 * one - other, atol=1e-12)
    with pytest.raises(ConfigError, match=r"3 outputs; here it must have 1"):
        load_reward_model(path)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        (None, "weights=null: .* 5 outputs .helpfulness, .*by a list of numbers or by name"),
        ([1.0, 2.0], "give a number for each"),
        ({"helpfullness": 1.0}, "weights.helpfullness: .*Did you mean helpfulness"),
    ],
)
def test_weights_must_fit(
    weights: list[float] | Mapping[str, float] | None, problem: str, graded: str
) -> None:
    scorer = PretrainedRewardModel(graded, max_tokens=64, weights=weights)
    with pytest.raises(ConfigError, match=problem):
        scorer.score(ASKED, TEXTS)


@pytest.mark.parametrize(
    ("template", "model_class", "problem"),
    [
        (CHATML, LlamaForCausalLM, "no sequence classifier but LlamaForCausalLM"),
        (CHATML, BertForSequenceClassification, "does not read the last token"),
        (None, LlamaForSequenceClassification, "no chat template.*chat_template.jinja"),
    ],
)
def test_what_is_no_reward_model_of_answers_is_named(
    template: str | None, model_class: Any, problem: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "other", template, model_class, num_labels=1)
    with pytest.raises(ConfigError, match=f"reward: {path} .*{problem}"):
        PretrainedRewardModel(path, max_tokens=64).score(ASKED, TEXTS)


def test_long_conversations_keep_their_end(graded: str) -> None:
    weights = {"helpfulness": 1.0}
    short = PretrainedRewardModel(graded, max_tokens=60, weights=weights)
    long_prompt = [user_instruction("Hi " * n + "Sum 1 2") for n in (40, 50)]
    assert np.ptp(short.score(long_prompt, ["Hello ok"] * 2)) == 0
    assert np.ptp(short.score(long_prompt, ["Hello ok", "Hello Hello"])) > 0
    with pytest.raises(ConfigError, match=r"reward\.max_tokens = 1000: .* only 256 positions"):
        PretrainedRewardModel(graded, max_tokens=1000, weights=weights).score(ASKED, TEXTS)


def test_a_directory_counts_by_its_content_and_is_found_from_anywhere(
    graded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(graded)
    monkeypatch.chdir(folder.parent)
    chosen = plain(compose(["reward=pretrained", f"reward.path={folder.name}"]))["reward"]
    assert pinned(chosen)["path"] == graded
    assert "path" not in result_config(chosen)
    before = resolved(chosen)["path"]
    config = folder / "config.json"
    text = config.read_text()
    config.write_text(text + " ")
    assert resolved(chosen)["path"] != before
    config.write_text(text)
    scorer = build({**pinned(chosen), "max_tokens": 64, "weights": [1.0] * 5})
    assert np.isfinite(scorer.score(ASKED, TEXTS)).all()


def test_a_hub_name_counts_by_its_commit() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    overrides = ["reward=pretrained", "reward.path=owner/name", f"reward.revision={commit}"]
    chosen = plain(compose(overrides))["reward"]
    assert pinned(chosen)["revision"] == commit and resolved(chosen) == {}
    assert result_config(chosen)["revision"] == commit
    with pytest.raises(DataError, match=f"owner/name .model, revision {commit}.*reward.revision"):
        build(chosen).score(ASKED, TEXTS)


def test_paths_that_lead_nowhere(tmp_path: Path, graded: str) -> None:
    with pytest.raises(ConfigError, match="no such directory, and it is no hub name"):
        PretrainedRewardModel(str(tmp_path / "missing"), max_tokens=64)
    with pytest.raises(ConfigError, match=r"reward\.revision=main: .* has no revisions"):
        PretrainedRewardModel(graded, max_tokens=64, revision="main")
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ConfigError, match=r"reward.path=.*only pytorch_model.bin, pickled"):
        PretrainedRewardModel(str(tmp_path), max_tokens=64)
