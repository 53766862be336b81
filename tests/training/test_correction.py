"""Importance weights: no change where engine and trainer agree, the policy's own gradient where
they do not."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_policy as toy

from farm.context import Context
from farm.errors import ConfigError
from farm.generation.engines import own_decoder
from farm.generation.logprobs import predict
from farm.generation.moved import Answer, Asked
from farm.protocols import FloatArray
from farm.seeds import seed_libraries
from farm.training.correction import Correction, TruncatedImportance, Uncorrected
from farm.training.episodes import Episodes, Observed, log_ratios, observe, rollout
from farm.training.holding import Copies
from farm.training.kl_control import FixedKL
from farm.training.networks import Networks
from farm.training.on_policy import OnPolicyLearner
from farm.training.ranks import Alone
from farm.types import Inputs, Instruction, PolicyRef
from methods.grpo import GRPO
from methods.ppo import PPO, Lesson
from methods.ppo_value import TrunkValue
from methods.rloo import RLOO

HELD = Copies({}, Alone())
UNCUT = TruncatedImportance(cap=None)
VOCABULARY, LENGTH = 5, 2
PROMPT = [3, 1]
KEYS: dict[str, Any] = {
    **toy.LIMITS, "steps": 2, "episodes_per_step": 32, "minibatch_size": 16, "learning_rate": 5e-3,
    "checkpoint_every": None, "resume_every": 1,
}  # fmt: skip


def learner(name: str, correction: Correction) -> OnPolicyLearner:
    keys = {**KEYS, "correction": correction}
    if name == "ppo":
        return PPO(**keys, value=TrunkValue(), kl=FixedKL(0.1))
    return {"grpo": GRPO, "rloo": RLOO}[name](**{**keys, "answers_per_prompt": 4})


class HayReward:
    """How often an answer says hay."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([float(text.split().count("hay")) for text in completions])


class Predicts:
    """A policy, for `observe`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, batch: Any) -> Any:
        return predict(self._model, batch)


class Account:
    """Our decoder, with the trainer's log-probabilities of what was drawn, plus `off`."""

    def __init__(self, start: PolicyRef, off: float) -> None:
        self._own, self._off = own_decoder(start), off

    def answers(
        self, model: Any, asked: Asked, how: Mapping[str, Any], context: Context
    ) -> list[Answer]:
        found = self._own.answers(model, asked, how, context)
        episodes = rollout(model, self._own, asked, context, **{**how, "temperature": 1.0})
        observed = observe(
            model, Predicts(model), episodes, HELD, Alone(), tokens_per_batch=8192
        ).logprobs_B_T
        return [
            Answer(a.ids, [p + self._off for p in row[: len(a.ids)]], a.stopped)
            for a, row in zip(found, observed.tolist(), strict=True)
        ]


@pytest.mark.parametrize("name", ["ppo", "grpo", "rloo"])
def test_where_both_agree_a_correction_changes_no_bit(name: str, tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "start")
    inputs = Inputs(instructions=toy.instructions(40), reward=HayReward())
    for folder, correction, off in (
        ("plain", Uncorrected(), 0.0),
        ("corrected", TruncatedImportance(cap=3.0), 0.0),
        ("otherwise", TruncatedImportance(cap=3.0), 0.5),
    ):
        context = toy.context(tmp_path / folder)
        context.engine_of = lambda policy, off=off: Account(policy, off)  # type: ignore[misc]
        learner(name, correction).fit(start, inputs, context)
    plain, corrected, otherwise = (
        tmp_path / folder / "policy" for folder in ("plain", "corrected", "otherwise")
    )
    assert {line["engine_gap_max"] for line in toy.metrics(plain.parent)} == {0.0}
    assert toy.same_weights(plain, corrected)
    assert not toy.same_weights(plain, otherwise)


# ------------------------------------------------- every answer there is, with its chance


def model(seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    seed_libraries(seed, "test_correction")
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, initializer_range=0.5,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


class World:
    """All answers of `length` tokens, their log-probabilities under a policy and under an engine
    that computes something near it, and what they are worth."""

    def __init__(self, length: int) -> None:
        self.policy = model(0)
        engine = model(0)
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in engine.parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=noise))
        answers = [list(ids) for ids in itertools.product(range(VOCABULARY), repeat=length)]
        count = len(answers)
        shape = (count, length)
        blank = Episodes(
            [PROMPT] * count, answers, torch.ones(shape, dtype=torch.bool),
            torch.ones(count, dtype=torch.bool), torch.zeros(shape),
        )  # fmt: skip
        theirs, ours = (
            observe(one, Predicts(one), blank, HELD, Alone(), tokens_per_batch=8192)
            for one in (engine, self.policy)
        )
        self.episodes = replace(blank, engine_logprobs_B_T=theirs.logprobs_B_T)
        self.observed: Observed = ours
        self.worth_B = torch.randn(count, generator=noise)
        self.rows = list(range(count))
        assert float(log_ratios(self.episodes, self.observed).abs().max()) > 0.2

    def chances(self, logprobs_B_T: torch.Tensor) -> torch.Tensor:
        """Of all answers, times their number, for losses are means over answers."""
        chances_B = logprobs_B_T.sum(1).exp()
        assert float(chances_B.sum()) == pytest.approx(1, abs=1e-5)
        return chances_B * len(self.rows)

    def gradient(self, loss: Mapping[str, torch.Tensor]) -> torch.Tensor:
        found = torch.autograd.grad(loss["loss"], list(self.policy.parameters()))
        return torch.cat([part.flatten() for part in found])


def rloo_gradient(world: World, chances_B: torch.Tensor, weights_B: torch.Tensor) -> torch.Tensor:
    networks = Networks({"model": world.policy}, None, None, Alone())
    loss = RLOO(**toy.LIMITS).minibatch_loss(
        networks, world.episodes, world.observed, chances_B * weights_B * world.worth_B
    )
    return world.gradient(loss(world.rows, world.rows))


def ppo_gradient(world: World, chances_B: torch.Tensor, weights_B_T: torch.Tensor) -> torch.Tensor:
    from farm.models.heads import TrunkHead

    networks = Networks({"model": world.policy, "critic": TrunkHead(16)}, None, None, Alone())
    zero = torch.zeros_like(weights_B_T)
    lesson = Lesson(
        world.episodes.mask_B_T, world.observed.logprobs_B_T, zero,
        (chances_B * world.worth_B)[:, None] * weights_B_T, zero,
    )  # fmt: skip
    learns = PPO(**toy.LIMITS, value=TrunkValue(), kl=FixedKL(0.1))
    loss = learns.minibatch_loss(networks, world.episodes, lesson)
    return world.gradient(loss(world.rows, world.rows))


def test_whole_answers_uncut_give_the_policys_own_gradient() -> None:
    world = World(LENGTH)
    log_ratios_B = log_ratios(world.episodes, world.observed).sum(1)
    ours = world.chances(world.observed.logprobs_B_T)
    theirs = world.chances(world.episodes.engine_logprobs_B_T)
    right = rloo_gradient(world, ours, Uncorrected().weights(log_ratios_B))
    corrected = rloo_gradient(world, theirs, UNCUT.weights(log_ratios_B))
    torch.testing.assert_close(corrected, right, atol=1e-6, rtol=1e-4)
    wrong = rloo_gradient(world, theirs, Uncorrected().weights(log_ratios_B))
    cut = rloo_gradient(world, theirs, TruncatedImportance(cap=1.2).weights(log_ratios_B))
    scale = float(right.norm())
    assert float((wrong - right).norm()) > 0.05 * scale
    assert 1e-3 * scale < float((cut - right).norm()) < float((wrong - right).norm())


def test_tokens_uncut_give_it_where_an_answer_is_one_token() -> None:
    world = World(length=1)
    ratios_B_T = log_ratios(world.episodes, world.observed)
    ours = world.chances(world.observed.logprobs_B_T)
    theirs = world.chances(world.episodes.engine_logprobs_B_T)
    right = ppo_gradient(world, ours, Uncorrected().weights(ratios_B_T))
    corrected = ppo_gradient(world, theirs, UNCUT.weights(ratios_B_T))
    torch.testing.assert_close(corrected, right, atol=1e-6, rtol=1e-4)
    wrong = ppo_gradient(world, theirs, Uncorrected().weights(ratios_B_T))
    assert float((wrong - right).norm()) > 0.05 * float(right.norm())


def test_weights_are_cut_at_the_cap() -> None:
    log_ratios = torch.tensor([-1.0, 0.0, 2.0]).log1p().nan_to_num(neginf=-50.0)
    assert TruncatedImportance(cap=2.0).weights(log_ratios).tolist() == pytest.approx([0, 1, 2])
    assert UNCUT.weights(log_ratios).tolist() == pytest.approx([0, 1, 3])
    with pytest.raises(ConfigError, match=r"cap=0: must be above 0"):
        TruncatedImportance(cap=0)
