"""Blocks that take turns: who learns when, what it moves, and what memory it takes."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_policy as toy
from tuned_learners import LEARNERS, Watched, brief, context, dpo, repeating_policy

from farm.errors import ConfigError
from farm.models.fresh import FreshLlama
from farm.models.load import load_policy
from farm.models.tokenizers import WordLevel
from farm.protocols import FloatArray
from farm.training.compute import metering
from farm.training.kl_control import FixedKL
from farm.training.tuning import LISA
from farm.types import Decoding, Inputs, Instruction, PolicyRef
from methods.ppo import PPO
from methods.ppo_value import TrunkValue


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return repeating_policy(tmp_path_factory.mktemp("start"))


def blocks_of(model: Any) -> list[list[torch.nn.Parameter]]:
    return [list(block.parameters()) for block in model.get_decoder().layers]


def test_lisa_draws_blocks_alike_wherever_a_run_is_continued(start: PolicyRef) -> None:
    tuning = LISA(blocks=1, every=3)

    def learning(steps: range, seed: int = 0) -> list[list[bool]]:
        model = tuning.apply(load_policy(start.path, "cpu"), seed=seed)
        optimizer = torch.optim.AdamW(model.parameters())
        found = []
        for step in steps:
            tuning.before_step(model, optimizer, step, seed=seed)
            states = [{p.requires_grad for p in block} for block in blocks_of(model)]
            assert all(len(state) == 1 for state in states), "a block learns as a whole"
            always = {*model.parameters()} - {p for block in blocks_of(model) for p in block}
            assert len(always) == 3 and all(p.requires_grad for p in always)
            found.append([state.pop() for state in states])
        return found

    drawn = learning(range(60))
    assert all(sum(step) == 1 for step in drawn)
    assert all(drawn[begin] == drawn[begin + 1] == drawn[begin + 2] for begin in range(0, 60, 3))
    assert len({tuple(step) for step in drawn}) == 2, "every block is drawn at some time"
    assert learning(range(31, 60)) == drawn[31:]
    assert learning(range(60), seed=1) != drawn


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_drawn_block_moves_and_a_frozen_one_does_not(
    name: str, start: PolicyRef, tmp_path: Path
) -> None:
    folder, fit = LEARNERS[name]
    watched = Watched(LISA(blocks=1, every=100))
    fit(start, context(tmp_path, watched))
    begun = blocks_of(load_policy(start.path, "cpu"))
    moved = [
        {not p.equal(before) for p, before in zip(block, start_block, strict=True)}
        for block, start_block in zip(blocks_of(watched.model), begun, strict=True)
    ]
    assert sorted(map(str, moved)) == ["{False}", "{True}"]
    heads = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", "score.weight"}
    after, before = toy.weights(tmp_path / folder), toy.weights(start.path)
    common = heads & after.keys() & before.keys()
    assert all(not after[key].equal(before[key]) for key in common)
    if name == "reward":
        assert after["score.weight"].abs().max() > 0


def test_decay_and_momentum_do_not_move_what_is_frozen_again(
    start: PolicyRef, tmp_path: Path
) -> None:
    """Six steps with one block, then, from the same weights, six with the other."""
    watched = Watched(LISA(blocks=1, every=1))
    seen: list[list[torch.Tensor]] = []
    learning: list[list[bool]] = []

    def look(*_: object) -> None:
        blocks = blocks_of(watched.model)
        seen.append([block[0].detach().clone() for block in blocks])
        learning.append([block[0].requires_grad for block in blocks])

    made = context(tmp_path, watched)
    made.on_progress = look
    dpo(max_steps=12, weight_decay=0.1).fit(start, Inputs(judgments=brief(100)), made)
    assert {tuple(step) for step in learning} == {(True, False), (False, True)}
    for (before, after), drawn in zip(pairwise(seen), learning[1:], strict=True):
        moved = [not a.equal(b) for a, b in zip(before, after, strict=True)]
        assert moved == drawn


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("blocks", [1, 2])
def test_bytes_are_those_of_what_learns_at_a_time(tied: bool, blocks: int, tmp_path: Path) -> None:
    source = FreshLlama(
        tokenizer=WordLevel(), hidden_size=32, layers=3, heads=2, intermediate_size=64,
        tie_embeddings=tied, **toy.LIMITS,
    )  # fmt: skip
    path = source.build(toy.instructions(64), tmp_path / "start", seed=0)
    fresh = load_policy(path, "cpu")
    embedding = fresh.get_input_embeddings().weight.numel()
    head = 0 if tied else embedding
    block = sum(p.numel() for p in blocks_of(fresh)[0])
    made = context(tmp_path / "dpo", LISA(blocks=blocks, every=2))
    with metering(tmp_path) as meter:
        dpo(max_steps=9).fit(PolicyRef(path, Decoding(1.0, 6)), Inputs(judgments=brief(100)), made)
    learning = embedding + head + 32 + blocks * block
    assert meter.spent["optimizer_bytes"] == 8 * learning
    assert meter.spent["gradient_bytes"] == 4 * learning
    assert meter.spent["parameter_bytes"] == 4 * sum(p.numel() for p in fresh.parameters())
    assert meter.spent["peak_bytes"] > meter.spent["parameter_bytes"]


class Words:
    """How many words an answer has."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([float(len(text.split())) for text in completions])


def test_ppo_learns_with_lisa(start: PolicyRef, tmp_path: Path) -> None:
    watched = Watched(LISA(blocks=1, every=2))
    learner = PPO(
        **toy.LIMITS, value=TrunkValue(), kl=FixedKL(0.05), steps=12, episodes_per_step=64,
        minibatch_size=32, epochs=2, learning_rate=5e-3,
    )  # fmt: skip
    inputs = Inputs(instructions=toy.instructions(200), reward=Words())
    learner.fit(start, inputs, context(tmp_path, watched))
    rewards = [line["proxy"] for line in toy.metrics(tmp_path)]
    assert rewards[-1] > rewards[0] + 2


def test_more_blocks_than_there_are_is_said(start: PolicyRef, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"blocks.*at most 2"):
        dpo().fit(start, Inputs(judgments=brief(50)), context(tmp_path, LISA(blocks=3)))
