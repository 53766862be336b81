"""Learners that tests of tunings train: short, and from a policy that knows the toy world."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import toy_policy as toy

from farm.context import Context
from farm.protocols import Tuning
from farm.training.precision import Precision
from farm.training.ranks import Ranks
from farm.types import Inputs, LabeledPair, PolicyRef
from methods.dpo import DPO
from methods.reward.bradley_terry import BradleyTerry
from methods.sft import SFT


class Watched:
    """A tuning whose model a test can look at."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self.model: Any = None

    @property
    def precision(self) -> Precision:
        return self._tuning.precision

    @property
    def compile(self) -> bool:
        return self._tuning.compile

    def apply(self, model: Any, *, seed: int) -> Any:
        self.model = self._tuning.apply(model, seed=seed)
        return self.model

    def before_step(self, model: Any, optimizer: Any, step: int, *, seed: int) -> None:
        self._tuning.before_step(model, optimizer, step, seed=seed)

    def anchor(self, model: Any, path: str, device: str, ranks: Ranks) -> Any:
        return self._tuning.anchor(model, path, device, ranks)


def repeating_policy(folder: Path) -> PolicyRef:
    """A policy that repeats words, as adapters need it: they build on what the weights can do."""
    sft = SFT(**toy.LIMITS, learning_rate=1e-2, epochs=None, max_steps=120, batch_size=32)
    inputs = Inputs(demonstrations=toy.instructions(1000))
    return sft.fit(toy.starting_policy(folder / "model"), inputs, toy.context(folder / "sft"))


def context(work: Path, tuning: Tuning) -> Context:
    made = toy.context(work)
    made.tuning = tuning
    return made


def brief(asked: int, seed: int = 0) -> list[LabeledPair]:
    """Labels that prefer the first word alone to all of them."""
    return [
        toy.label(i, i.demonstration, i.demonstration.split()[0], preference=1.0)
        if number % 2
        else toy.label(i, i.demonstration.split()[0], i.demonstration, preference=0.0)
        for number, i in enumerate(toy.instructions(asked, seed))
        if i.demonstration
    ]


def dpo(**changes: object) -> DPO:
    keys = {"learning_rate": 3e-3, "batch_size": 32, "epochs": None, "max_steps": 40}
    return DPO(**{**toy.LIMITS, **keys, **changes})  # type: ignore[arg-type]


def bradley_terry(**changes: object) -> BradleyTerry:
    keys = {"learning_rate": 3e-3, "batch_size": 32, "epochs": None, "max_steps": 4}
    return BradleyTerry(**{**toy.LIMITS, **keys, **changes})  # type: ignore[arg-type]


LEARNERS: dict[str, tuple[str, Callable[[PolicyRef, Context], object]]] = {
    "sft": (
        "policy",
        lambda start, context: SFT(
            **toy.LIMITS, epochs=None, max_steps=8, batch_size=16, resume_every=3
        ).fit(start, Inputs(demonstrations=toy.instructions(100)), context),
    ),
    "dpo": (
        "policy",
        lambda start, context: dpo(max_steps=8, resume_every=3).fit(
            start, Inputs(judgments=brief(100)), context
        ),
    ),
    "reward": (
        "reward_model",
        lambda start, context: bradley_terry(max_steps=8, resume_every=3).fit(
            start, brief(100), context
        ),
    ),
}
