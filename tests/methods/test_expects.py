"""Every learner of `conf/method` meets what its yaml states under `expects`, in a small barnyard.

`gold_win_rate` is the least share (percent, ties half) of unseen instructions on which gold ranks
the learned policy's answer above its start's: at the start's best temperature, or at the learned
policy's own where `expects` says `opponent: same_temperature` (AlpacaFarm's methods that imitate
answers). Labels are the pool's without noise and the reward is gold itself: it is the learner that
is tested. Who learns from demonstrations starts from an untrained model, everybody else from a
policy that has seen them, or, where `expects` says `start: task_writer`, some of how tasks are
written as well.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_policy as toy

from farm.config import build, compose, plain
from farm.data.barnyard.gold import BarnyardGold
from farm.data.barnyard.source import Barnyard
from farm.data.records import chunks, make_pair
from farm.data.self_instruct import WithTaskWriting
from farm.evaluation.rates import gold_win_rate
from farm.generation.best_of import sampler_of
from farm.protocols import FloatArray, Learner
from farm.types import (
    Completion,
    Decoding,
    Inputs,
    Instruction,
    LabeledPair,
    Need,
    PolicyRef,
    SplitName,
)

CONF = Path(__file__).parents[2] / "conf"
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
SMALL = ["model.hidden_size=64", "model.layers=2", "model.intermediate_size=128"]


def configuration(method: str) -> dict[str, Any]:
    return plain(compose([f"method={method}", *SMALL]))


@dataclass(frozen=True)
class SmallBarnyard:
    """What learners are given, each made when it is first needed."""

    folder: Path
    config: dict[str, Any]

    @cached_property
    def splits(self) -> dict[SplitName, list[Instruction]]:
        world = Barnyard(
            sft=3000, preference=600, unlabeled=1000, validation=256, evaluation=0, held_out=0
        )
        return {name: list(rows) for name, rows in world.load().items()}

    @cached_property
    def untrained(self) -> PolicyRef:
        source = build(self.config["model"])
        path = source.build(self.splits["sft"], self.folder / "untrained", seed=0)
        return PolicyRef(path, Decoding(1.0, source.max_new_tokens))

    @cached_property
    def sft(self) -> PolicyRef:
        return fit("sft", self)

    @cached_property
    def task_writer(self) -> PolicyRef:
        """A start that has also seen how tasks are written after two examples."""
        rows = WithTaskWriting(source=self, tasks=800, examples=2).load()["sft"]
        node = configuration("sft")["method"]
        learner: Learner = build(node, **node["expects"]["given"])
        context = toy.context(self.folder / "task_writer")
        return learner.fit(self.untrained, Inputs(demonstrations=rows), context)

    def load(self) -> dict[SplitName, list[Instruction]]:
        """As an `InstructionSource`."""
        return self.splits

    def start(self, learner: Learner, name: str | None) -> PolicyRef:
        default = "untrained" if "demonstrations" in learner.needs else "sft"
        policy: PolicyRef = getattr(self, name or default)
        return policy

    def inputs(self, needs: frozenset[Need]) -> Inputs:
        makers: dict[Need, Any] = {
            "instructions": lambda: self.splits["unlabeled"],
            "demonstrations": lambda: self.splits["sft"],
            "judgments": lambda: self.judgments,
            "reward": BarnyardGold,
            "text": lambda: [str(row.demonstration) for row in self.splits["sft"]],
            "annotator": lambda: build(self.config["annotators"]["clean"]),
            "draft": lambda: self.draft,
            "policies": lambda: [self.sft, fit("dpo", self)],
        }
        return Inputs(**{need: makers[need]() for need in needs})

    @cached_property
    def draft(self) -> PolicyRef:
        learner: Learner = build(self.config["draft"], epochs=None, max_steps=50)
        inputs = self.inputs(learner.needs)
        return learner.fit(self.sft, inputs, toy.context(self.folder / "draft"))

    @cached_property
    def judgments(self) -> list[LabeledPair]:
        """Two pairs for each instruction."""
        asked = [row for row in self.splits["preference"] for _ in range(2)]
        answers = chunks(self.sample(self.sft, self.splits["preference"], n=4), 2)
        pairs = [
            make_pair(instruction, first.text, second.text)
            for instruction, (first, second) in zip(asked, answers, strict=True)
        ]
        verdicts = build(self.config["annotators"]["clean"]).annotate(pairs, seed=0)
        return [LabeledPair(*row) for row in zip(pairs, verdicts, strict=True)]

    def sample(self, policy: PolicyRef, asked: list[Instruction], n: int) -> list[Completion]:
        return sampler_of(self.config["sampler"], policy).sample(asked, n=n, seed=0)

    def best_temperature(self, start: PolicyRef) -> FloatArray:
        """Utilities of a start's answers at whichever temperature gold likes best."""
        temperatures = self.config["evaluation"]["temperatures"]
        return max((self.gold(start, t) for t in temperatures), key=np.mean)

    def same_temperature(self, policy: PolicyRef) -> FloatArray:
        """Utilities of a policy's answers at the temperature of evaluation."""
        return self.gold(policy, self.config["decoding"]["temperature"])

    def gold(self, policy: PolicyRef, temperature: float) -> FloatArray:
        """Utilities of the policy's answers."""
        decoding = replace(policy.decoding, temperature=temperature)
        asked = self.splits["validation"]
        answers = self.sample(replace(policy, decoding=decoding), asked, n=1)
        return BarnyardGold().score(asked, [answer.text for answer in answers])


def fit(method: str, world: SmallBarnyard) -> PolicyRef:
    """What a learner makes of its start with the keys that `expects` gives it."""
    node = configuration(method)["method"]
    learner: Learner = build(node, **node["expects"]["given"])
    context = toy.context(world.folder / method)
    start = world.start(learner, node["expects"].get("start"))
    return learner.fit(start, world.inputs(learner.needs), context)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallBarnyard:
    return SmallBarnyard(tmp_path_factory.mktemp("barnyard"), configuration("sft"))


MINUTES = {"acceptance_head", "chain", "isheep", "kto", "online_dpo", "online_rloo"}
"""Those that take longest, for `make test-slow`."""


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=pytest.mark.slow) if m in MINUTES else m for m in METHODS]
)
def test_it_beats_its_start_by_the_stated_margin(method: str, world: SmallBarnyard) -> None:
    node = configuration(method)["method"]
    start = world.start(build(node), node["expects"].get("start"))
    opponent = getattr(world, node["expects"].get("opponent", "best_temperature"))(start)
    learned = world.same_temperature(fit(method, world))
    rate = gold_win_rate(learned, opponent, seed=0).value
    assert rate >= node["expects"]["gold_win_rate"]
