"""Reading on: the loss is that of the windows, text is learned, and what was known is kept or lost
by what is read."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_policy as toy
from transformers import AutoModelForCausalLM, AutoTokenizer

from farm.errors import ConfigError, DataError
from farm.models.load import load_policy
from farm.training.tuning import LoRA
from farm.types import Inputs, PolicyRef
from methods.continual_pretraining import ContinualPretraining, window_losses
from methods.corpora import FixedMixture, OriginalOnly

SHORT = {**toy.LIMITS, "learning_rate": 1e-2, "epochs": None, "max_steps": 60, "batch_size": 16}
ROUND = ["barn cart duck goat hay oats pond sheep"] * 2


class Rounds:
    """The toy world's words in one order, over and over."""

    def texts(self) -> list[str]:
        words = list(toy.WORDS)
        return [" ".join(words[i % 8 :] + words[: i % 8]) for i in range(200)]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start") / "model")


def inputs() -> Inputs:
    return Inputs(text=Rounds().texts(), demonstrations=toy.instructions(200))


def text_loss(path: str, texts: Sequence[str]) -> float:
    """Nats per token of "TEXT<end>", by a plain forward pass over each."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    losses = []
    for text in texts:
        ids = tokenizer(f"{text}<end>", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=ids).loss))
    return float(np.mean(losses))


def test_the_loss_of_a_window_is_the_mean_over_its_predicted_tokens(start: PolicyRef) -> None:
    """Documents see nothing of each other, and a document of one token has nothing to predict."""
    windows = [[[6, 7, 8], [9, 5]], [[7, 7, 5, 6, 8]], [[9], [8, 6], [7, 6]]]
    with torch.no_grad():
        losses_B, _ = window_losses(load_policy(start.path, "cpu"), windows)
    plain = AutoModelForCausalLM.from_pretrained(start.path)
    for loss, window in zip(losses_B, windows, strict=True):
        sums = [sum_of_losses(plain, ids) for ids in window]
        expected = sum(sums) / sum(len(ids) - 1 for ids in window)
        assert float(loss) == pytest.approx(expected, abs=1e-5)


def sum_of_losses(model: torch.nn.Module, ids: list[int]) -> float:
    """-log p of a document's tokens but the first, by a plain forward pass."""
    with torch.no_grad():
        logprobs_T_V = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(float(logprobs_T_V[t, ids[t + 1]]) for t in range(len(ids) - 1))


def test_it_learns_the_text(start: PolicyRef, tmp_path: Path) -> None:
    before = text_loss(start.path, Rounds().texts()[:8])
    policy = ContinualPretraining(**SHORT).fit(start, inputs(), toy.context(tmp_path))
    after = text_loss(policy.path, Rounds().texts()[:8])
    assert before > 2 and after < 0.6  # ln 8 / 9 for the first word, the others follow
    told = json.loads((tmp_path / "corpus.json").read_text())
    assert told == {"documents_per_pass": 200, "tokens_per_pass": 1800, "tokens": 60 * 16 * 18}
    assert toy.metrics(tmp_path)[-1]["loss"] < 0.6


def test_conversations_are_learned_from_a_mixture_alone(start: PolicyRef, tmp_path: Path) -> None:
    """Only what has read conversations prefers a repetition to another answer."""
    unseen = toy.labelled(toy.instructions(60, seed=1))
    keys = {**SHORT, "max_steps": 150}
    mixture = ContinualPretraining(**keys, corpus=FixedMixture(original_share=0.7))
    of_both = mixture.fit(start, inputs(), toy.context(tmp_path / "mixture"))
    of_text = ContinualPretraining(**SHORT).fit(start, inputs(), toy.context(tmp_path / "text"))
    share = {p: np.mean(np.array(toy.log_odds(p.path, unseen)) > 0) for p in (of_both, of_text)}
    assert share[of_both] > 0.8
    assert share[of_text] < 0.7
    assert text_loss(of_both.path, Rounds().texts()[:8]) < 0.8


def test_a_pass_is_as_many_windows_as_the_documents_fill(start: PolicyRef, tmp_path: Path) -> None:
    learner = ContinualPretraining(**{**SHORT, "epochs": 2.0, "max_steps": None}, window_tokens=20)
    learner.fit(start, inputs(), toy.context(tmp_path))
    assert len(toy.metrics(tmp_path)) == -(-2 * (1800 // 20) // 16)


def test_the_text_of_the_configuration_counts(start: PolicyRef, tmp_path: Path) -> None:
    given = ContinualPretraining(**{**SHORT, "max_steps": 2}, text=Rounds())
    asked = ContinualPretraining(**{**SHORT, "max_steps": 2})
    given.fit(start, Inputs(demonstrations=[]), toy.context(tmp_path / "given"))
    asked.fit(start, inputs(), toy.context(tmp_path / "asked"))
    assert toy.same_weights(tmp_path / "given/policy", tmp_path / "asked/policy")


def test_the_original_distribution_can_be_text(start: PolicyRef, tmp_path: Path) -> None:
    learner = ContinualPretraining(**SHORT, original=Rounds(), corpus=OriginalOnly())
    policy = learner.fit(start, Inputs(text=["goat"] * 9), toy.context(tmp_path))
    assert text_loss(policy.path, Rounds().texts()[:8]) < 0.6


def test_adapters_learn_too(start: PolicyRef, tmp_path: Path) -> None:
    context = toy.context(tmp_path)
    context.tuning = LoRA(rank=8)
    policy = ContinualPretraining(**{**SHORT, "max_steps": 30}).fit(start, inputs(), context)
    assert text_loss(policy.path, Rounds().texts()[:8]) < text_loss(start.path, ROUND) - 0.3


def test_it_continues_after_a_kill(start: PolicyRef, tmp_path: Path) -> None:
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    method = ContinualPretraining(**{**SHORT, "max_steps": 9}, resume_every=4)
    method.fit(start, inputs(), whole)
    toy.interrupt_at(broken, 7)
    with pytest.raises(toy.Interrupted):
        method.fit(start, inputs(), broken)
    method.fit(start, inputs(), broken)
    assert toy.same_weights(tmp_path / "whole/policy", tmp_path / "broken/policy")
    assert toy.metrics(tmp_path / "whole") == toy.metrics(tmp_path / "broken")


def test_without_text_it_says_so(start: PolicyRef, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"method\.text"):
        ContinualPretraining(**SHORT).fit(start, Inputs(text=[]), toy.context(tmp_path))


@pytest.mark.parametrize(("key", "value"), [("window_tokens", 1), ("checkpoint_every", 0)])
def test_wrong_values_name_their_key(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=key):
        ContinualPretraining(**toy.LIMITS, **{key: value})  # type: ignore[arg-type]
