"""DPO moves probability to the preferred answers, measured against the start policy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_policy as toy
from transformers import AutoModelForCausalLM, AutoTokenizer

from farm.errors import ConfigError
from farm.types import Inputs, PolicyRef
from methods.dpo import DPO


def learner(**changes: object) -> DPO:
    settings = {**toy.LIMITS, "learning_rate": 1e-2, "batch_size": 32, "epochs": 5.0}
    return DPO(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start") / "model")


def test_it_raises_the_preferred_answers(start: PolicyRef, tmp_path: Path) -> None:
    labels = toy.labelled(toy.instructions(1000))
    policy = learner().fit(start, Inputs(judgments=labels), toy.context(tmp_path))
    unseen = toy.labelled(toy.instructions(60, seed=1))
    before, after = toy.log_odds(start.path, unseen), toy.log_odds(policy.path, unseen)
    assert np.mean(np.array(after) > 0) > 0.85 > 0.7 > np.mean(np.array(before) > 0)
    assert np.mean(after) - np.mean(before) > 3
    assert json.loads((tmp_path / "labels.json").read_text())["used"] == len(labels)


def test_margin_is_that_of_the_implicit_reward(start: PolicyRef, tmp_path: Path) -> None:
    """After one step at full rate, the second step logs beta * (log odds - log odds of start),
    and the loss is its log-sigmoid: both from plain forward passes."""
    labels = toy.labelled(toy.instructions(24))
    saved: list[str] = []

    def keep(step: int, save: object) -> None:
        path = tmp_path / f"step{step}"
        save(path)  # type: ignore[operator]
        saved.append(str(path))

    context = toy.context(tmp_path / "work")
    context.on_checkpoint = keep
    method = learner(
        epochs=None,
        max_steps=3,
        batch_size=len(labels),
        checkpoint_every=1,
        beta=0.5,
        warmup_ratio=0.0,
        lr_schedule="constant_with_warmup",
    )
    method.fit(start, Inputs(judgments=labels), context)
    first, second, _ = toy.metrics(tmp_path / "work")
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    rewards = 0.5 * (np.array(toy.log_odds(saved[0], labels)) - toy.log_odds(start.path, labels))
    assert second["margin"] == pytest.approx(rewards.mean(), abs=1e-3)
    assert second["loss"] == pytest.approx(np.log1p(np.exp(-rewards)).mean(), abs=1e-3)


def test_two_steps_are_those_of_a_plain_implementation(start: PolicyRef, tmp_path: Path) -> None:
    labels = toy.labelled(toy.instructions(14))
    method = learner(
        epochs=None,
        max_steps=2,
        batch_size=len(labels),
        beta=0.5,
        learning_rate=1e-2,
        warmup_ratio=0.0,
        lr_schedule="constant_with_warmup",
    )
    policy = method.fit(start, Inputs(judgments=labels), toy.context(tmp_path))
    losses, model = plain_steps(start.path, labels, steps=2, beta=0.5, learning_rate=1e-2)
    assert [line["loss"] for line in toy.metrics(tmp_path)] == pytest.approx(losses, abs=1e-6)
    for name, ours in toy.weights(policy.path).items():
        torch.testing.assert_close(ours, model.state_dict()[name], atol=1e-5, rtol=0)


def plain_steps(
    path: str, labels: list[toy.LabeledPair], *, steps: int, beta: float, learning_rate: float
) -> tuple[list[float], Any]:
    """DPO's loss at each step, and the model after them: one unpadded row at a time, in plain
    torch."""
    policy, start = (AutoModelForCausalLM.from_pretrained(path) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(path)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=learning_rate, weight_decay=0.0)

    def log_ratio(prompt: str, answer: str) -> torch.Tensor:
        ours, theirs = (
            toy.answer_logprob(model, tokenizer, prompt, answer) for model in (policy, start)
        )
        return ours - theirs.detach()

    losses = []
    for _ in range(steps):
        loss = torch.zeros(())
        for pair, judgment in labels:
            prompt = pair.instruction.messages[0].content
            a, b = (log_ratio(prompt, answer) for answer in (pair.output_a, pair.output_b))
            margin = b - a if judgment.preference == 1 else a - b
            loss = loss + torch.log1p(torch.exp(-beta * margin)) / len(labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, policy


def test_it_continues_after_a_kill(start: PolicyRef, tmp_path: Path) -> None:
    inputs = Inputs(judgments=toy.labelled(toy.instructions(100)))
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    method = learner(max_steps=12, epochs=None, resume_every=5)
    method.fit(start, inputs, whole)
    toy.interrupt_at(broken, 8)
    with pytest.raises(toy.Interrupted):
        method.fit(start, inputs, broken)
    method.fit(start, inputs, broken)
    assert toy.same_weights(tmp_path / "whole/policy", tmp_path / "broken/policy")
    assert toy.metrics(tmp_path / "whole") == toy.metrics(tmp_path / "broken")


def test_wrong_values_name_their_key() -> None:
    with pytest.raises(ConfigError, match="beta"):
        learner(beta=0.0)


def test_a_batch_of_ties_has_a_loss_and_no_accuracy(start: PolicyRef, tmp_path: Path) -> None:
    asked = toy.instructions(6)
    ties = [toy.label(asked[0], "hay", "oats", preference=p) for p in (0.5, 0.5, 1.0, 0.5)]
    keys = {"epochs": None, "max_steps": 4, "batch_size": 1}
    learner(**keys).fit(start, Inputs(judgments=ties), toy.context(tmp_path))
    lines = toy.metrics(tmp_path)
    assert all(line["loss"] > 0 for line in lines)
    assert sum("accuracy" in line for line in lines) == 1
