"""vLLM as a learner's engine: what it is asked, in which order, with which weights it answers."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import fake_vllm
import numpy as np
import pytest
import toy_policy as toy

from farm.artifacts import Artifact
from farm.builder import Step
from farm.config import compose, plain
from farm.context import Context
from farm.errors import ConfigError
from farm.generation import vllm_engine
from farm.generation.engines import OwnDecoder, engine_of
from farm.generation.sampler import FarmSampler
from farm.generation.vllm import VllmRollouts, VllmSampler
from farm.learning import Learning
from farm.protocols import FloatArray
from farm.settings import Settings
from farm.stages.job import Job
from farm.training.tuning import LoRA
from farm.types import Completion, Inputs, Instruction, PolicyRef
from methods.grpo import GRPO

T = TypeVar("T")
R = TypeVar("R")
UPDATE = ["wake weights", "weights", "wake kv_cache", "forget prefixes"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the stand-in for vLLM is asked."""
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm)
    monkeypatch.setattr(vllm_engine, "_held", {})
    return fake_vllm.CALLS


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start"))


def sampler(policy: PolicyRef, dtype: str = "auto") -> VllmSampler:
    return VllmSampler(policy, toy.LIMITS["max_prompt_tokens"], dtype, gpu_memory_utilization=0.3)


class Reward:
    """How often an answer says hay; tells when it is asked."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        self._calls.append("score")
        return np.array([float(text.split().count("hay")) for text in completions])


class CopyingPool:
    """Two actors that get a copy of the function, as through Ray's object store."""

    size = 2

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        from ray import cloudpickle

        copy = cloudpickle.loads(cloudpickle.dumps(function))
        return map(copy, tasks)

    def stop(self) -> None:
        """Nobody is there."""


def learn(start: PolicyRef, context: Context, calls: list[str], steps: int = 2) -> None:
    limits: dict[str, Any] = {**toy.LIMITS}
    learner = GRPO(
        **limits, steps=steps, episodes_per_step=32, answers_per_prompt=4, minibatch_size=16,
        learning_rate=5e-3, checkpoint_every=None, resume_every=1,
    )  # fmt: skip
    learner.fit(start, Inputs(instructions=toy.instructions(40), reward=Reward(calls)), context)


def test_it_draws_from_a_saved_policy_as_our_loop_does(start: PolicyRef, calls: list[str]) -> None:
    asked = toy.instructions(9)
    ours = FarmSampler(start, 16, toy.LIMITS["max_prompt_tokens"])
    theirs = sampler(start)
    assert theirs.sample(asked, n=3, seed=5) == ours.sample(asked, n=3, seed=5)
    assert theirs.draw(asked, n=2, seed=1) == ours.draw(asked, n=2, seed=1)
    assert calls[-3:] == ["start", "generate", "generate"]


@pytest.mark.parametrize("tuning", [None, LoRA(rank=2)])
def test_a_learner_is_answered_with_the_weights_it_has(
    start: PolicyRef, calls: list[str], tmp_path: Path, tuning: LoRA | None
) -> None:
    own, other = toy.context(tmp_path / "own"), toy.context(tmp_path / "other")
    other.engine_of = lambda policy: engine_of(sampler(policy))
    for context in (own, other):
        context.tuning = tuning or context.tuning
    learn(start, own, [])
    calls.clear()
    learn(start, other, calls)
    step = [*UPDATE, "generate", "sleep", "score"]
    assert calls == ["start", "sleep", *step * 2]
    assert toy.same_weights(own.work / "policy", other.work / "policy")
    first, last = toy.metrics(other.work)
    assert first["proxy"] != last["proxy"]
    assert last["engine_gap"] < 1e-5 and last["engine_kl"] < 1e-9

    asked = toy.instructions(5)  # a saved policy is not answered for with the learner's weights
    ours = FarmSampler(start, 16, toy.LIMITS["max_prompt_tokens"])
    assert sampler(start).sample(asked, n=1, seed=5) == ours.sample(asked, n=1, seed=5)


def test_a_pool_gets_the_weights_once_per_update(
    start: PolicyRef, calls: list[str], tmp_path: Path
) -> None:
    own, other = toy.context(tmp_path / "own"), toy.context(tmp_path / "other")
    other.engine_of = lambda policy: engine_of(sampler(policy))
    other.samplers = CopyingPool()
    learn(start, own, [])
    calls.clear()
    learn(start, other, calls)
    assert calls == ["start", *["sleep", *UPDATE, "generate", "generate", "score"] * 2]
    assert toy.same_weights(own.work / "policy", other.work / "policy")


def test_an_engine_that_computes_otherwise_shows(
    start: PolicyRef, calls: list[str], tmp_path: Path
) -> None:
    context = toy.context(tmp_path)
    context.engine_of = lambda policy: engine_of(sampler(policy, "bfloat16"))
    learn(start, context, calls, steps=1)
    (line,) = toy.metrics(tmp_path)
    assert 1e-4 < line["engine_gap"] < line["engine_gap_max"] < 0.5
    assert 0 < line["engine_kl"] < line["engine_gap"]


class TextSampler:
    """Draws from saved policies alone."""

    def sample(self, instructions: Sequence[Instruction], *, n: int, seed: int) -> list[Completion]:
        return []


def test_a_sampler_that_cannot_follow_is_told_apart() -> None:
    with pytest.raises(ConfigError, match=r"sampler: TextSampler .* sampler=farm or sampler=vllm"):
        engine_of(TextSampler())


class Recorder:
    """An executor that makes nothing and remembers what it was asked for."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def ensure(self, step: Step) -> Artifact:
        self.steps[step.label] = step
        return Artifact(step.stage, step.key, Path(step.key))


@pytest.mark.parametrize(("method", "follows"), [("ppo", True), ("dpo", False)])
def test_the_sampler_of_the_run_answers_for_those_who_learn_from_answers(
    method: str, follows: bool, start: PolicyRef, tmp_path: Path
) -> None:
    for name in ("farm", "vllm"):
        config = plain(compose([f"method={method}", f"sampler={name}"]))
        executor = Recorder()
        assert Learning(config, Settings.from_plain(config), executor).policy is not None
        step = executor.steps[method]
        assert ("sampler" in step.config) == follows
        job = Job(
            step.function, step.stage, step.key, tmp_path, "", tmp_path, step.job_config, {}, 0
        )
        engine = job.context().engine_of(start)
        assert isinstance(engine, VllmRollouts if follows and name == "vllm" else OwnDecoder)
