"""PPO as a learner: it solves a small world, continues after an interruption, and says what is
wrong."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import toy_policy as toy

from farm.context import Context, read_notes
from farm.data.records import user_instruction
from farm.errors import ConfigError, DataError
from farm.models.load import load_reward_model, load_tokenizer, save_policy
from farm.protocols import FloatArray
from farm.seeds import seed_libraries
from farm.training.episodes import draw
from farm.training.kl_control import AdaptiveKL, FixedKL
from farm.types import Inputs, Instruction, PolicyRef
from methods.ppo import PPO
from methods.ppo_value import RewardModelCritic, TrunkValue, ValueFunction


class SaysHay:
    """Pays 7 for an answer with the word hay, and 3 for any other."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([7.0 if "hay" in text.split() else 3.0 for text in completions])


class Nowhere:
    """A reward that applies to no answer."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.full(len(completions), np.nan)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def reward_model(start: PolicyRef, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("reward_model")
    seed_libraries(0, "reward_model")
    save_policy(load_reward_model(start.path), load_tokenizer(start.path), folder)
    return str(folder)


def ppo(*, value: ValueFunction | None = None, **keys: object) -> PPO:
    defaults: dict[str, object] = {
        "kl": FixedKL(0.02),
        "steps": 10,
        "episodes_per_step": 96,
        "minibatch_size": 48,
        "learning_rate": 3e-3,
        "unstopped_penalty": 0.0,
        "tokens_per_batch": 512,
    }
    return PPO(**toy.LIMITS, value=value or TrunkValue(), **{**defaults, **keys})  # type: ignore[arg-type]


def inputs(reward: object | None = None) -> Inputs:
    return Inputs(instructions=toy.instructions(80), reward=reward or SaysHay())  # type: ignore[arg-type]


def fit(
    learner: PPO, start: PolicyRef, context: Context, reward: object | None = None
) -> list[dict[str, float]]:
    learner.fit(start, inputs(reward), context)
    lines = (context.work / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("critic", ["trunk", "reward model"])
@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_ppo_learns_the_word_that_pays(
    critic: str, estimator: str, start: PolicyRef, reward_model: str, tmp_path: Path
) -> None:
    value = TrunkValue() if critic == "trunk" else RewardModelCritic(reward_model)
    learner = ppo(value=value, kl_estimator=estimator)
    metrics = fit(learner, start, toy.context(tmp_path / "work"))
    assert metrics[0]["proxy"] < 4.8 and metrics[0]["kl_to_start"] == pytest.approx(0, abs=1e-5)
    assert metrics[-1]["proxy"] > 6.2
    assert 0.5 < metrics[-1]["kl_to_start"] < 8
    assert metrics[-1]["episodes"] == 960


def test_a_strong_kl_penalty_holds_the_policy_at_its_start(
    start: PolicyRef, tmp_path: Path
) -> None:
    free = fit(ppo(), start, toy.context(tmp_path / "free"))
    held = fit(ppo(kl=FixedKL(2.0)), start, toy.context(tmp_path / "held"))
    assert held[-1]["kl_to_start"] < 0.15 * free[-1]["kl_to_start"]


def test_adaptive_coefficient_rises_above_its_target(start: PolicyRef, tmp_path: Path) -> None:
    learner = ppo(kl=AdaptiveKL(coefficient=0.02, target=0.01, gain=0.5), steps=4)
    metrics = fit(learner, start, toy.context(tmp_path / "work"))
    assert [m["kl_coefficient"] for m in metrics] == pytest.approx(
        [0.02, 0.02 * 0.9, 0.02 * 0.9 * 1.1, 0.02 * 0.9 * 1.1**2]
    )


def test_unstopped_answers_are_penalised(start: PolicyRef, tmp_path: Path) -> None:
    class Silent(SaysHay):
        def score(
            self, instructions: Sequence[Instruction], completions: Sequence[str]
        ) -> FloatArray:
            return np.zeros(len(completions))

    metrics = fit(ppo(unstopped_penalty=1.0), start, toy.context(tmp_path / "work"), Silent())
    assert metrics[0]["reward"] == pytest.approx(metrics[0]["stopped"] - 1)
    assert metrics[-1]["stopped"] > metrics[0]["stopped"] + 0.3


def test_training_ends_at_the_kl_limit(start: PolicyRef, tmp_path: Path) -> None:
    saved: list[int] = []
    context = toy.context(tmp_path / "work")
    context.on_checkpoint = lambda step, save: saved.append(step)
    metrics = fit(ppo(kl_limit=0.3, checkpoint_every=None), start, context)
    assert len(metrics) < 10 and metrics[-1]["kl_to_start"] > 0.3 >= metrics[-2]["kl_to_start"]
    assert saved == [metrics[-1]["step"]]
    (note,) = read_notes(context.work)
    assert f"KL alarm at step {saved[0]}" in note


class Interrupted(Exception):
    pass


def _interrupt_at(step: int) -> Callable[[int, object], None]:
    def stop(now: int, *_: object) -> None:
        if now == step:
            raise Interrupted

    return stop


@pytest.mark.parametrize("where", ["on_progress", "on_checkpoint"])
def test_a_continued_run_equals_an_uninterrupted_one(
    where: str, start: PolicyRef, reward_model: str, tmp_path: Path
) -> None:
    def learner() -> PPO:
        return ppo(
            value=RewardModelCritic(reward_model),
            kl=AdaptiveKL(coefficient=0.05, target=1.0, gain=0.5),
            steps=6,
            checkpoint_every=4,
            resume_every=3,
        )

    whole = fit(learner(), start, toy.context(tmp_path / "whole"))
    context = toy.context(tmp_path / "broken")
    setattr(context, where, _interrupt_at(4))
    with pytest.raises(Interrupted):
        learner().fit(start, inputs(), context)
    assert (tmp_path / "broken" / "resume" / "state.pt").exists()
    again = fit(learner(), start, toy.context(tmp_path / "broken"))

    timing = {"time_s", "episodes_per_s"}
    for one, other in zip(whole, again, strict=True):
        assert {k: v for k, v in one.items() if k not in timing} == {
            k: v for k, v in other.items() if k not in timing
        }
    weights = [tmp_path / run / "policy" / "model.safetensors" for run in ("whole", "broken")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not (tmp_path / "broken" / "resume").exists()


def test_prompts_come_in_shuffled_passes() -> None:
    stream = draw(0, 10, 0, 40)
    assert [sorted(stream[i : i + 10]) for i in range(0, 40, 10)] == [list(range(10))] * 4
    assert draw(0, 10, 7, 15) == stream[7:22]
    assert stream[:10] != stream[10:20]


def test_a_reward_without_a_score_names_the_instruction(start: PolicyRef, tmp_path: Path) -> None:
    asked = Inputs(instructions=[user_instruction("barn cart")], reward=Nowhere())
    with pytest.raises(DataError, match=r"NaN.* to 'barn cart'"):
        ppo(episodes_per_step=4).fit(start, asked, toy.context(tmp_path / "work"))


def test_a_critic_needs_a_reward_model(start: PolicyRef, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"reward is a SaysHay"):
        fit(ppo(value=RewardModelCritic()), start, toy.context(tmp_path / "work"))


@pytest.mark.parametrize(
    ("key", "value"), [("gae_lambda", 1.5), ("clip_ratio", 0.0), ("steps", 0), ("kl_limit", -1.0)]
)
def test_wrong_values_name_their_key(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        ppo(**{key: value})
