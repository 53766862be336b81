"""Learners from their own answers: what they share, on a world where the word hay is good."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_policy as toy

from farm.errors import ConfigError
from farm.protocols import FloatArray
from farm.training.on_policy import OnPolicyLearner
from farm.types import Inputs, Instruction, Judgment, Pair, PolicyRef
from methods.expert_iteration import ExpertIteration
from methods.grpo import GRPO
from methods.online_dpo import OnlineDPO
from methods.online_rloo import OnlineRLOO, group_pairs, mean_preferences
from methods.quark import Quark
from methods.rloo import RLOO

SMALL: dict[str, Any] = {
    **toy.LIMITS,
    "episodes_per_step": 96,
    "minibatch_size": 48,
    "learning_rate": 5e-3,
    "resume_every": 3,
    "checkpoint_every": 4,
}
LEARNERS: dict[str, OnPolicyLearner] = {
    "grpo": GRPO(**SMALL, steps=10, unstopped_penalty=0.0),
    "rloo": RLOO(**SMALL, steps=10, unstopped_penalty=0.0),
    "quark": Quark(**{**SMALL, "learning_rate": 1e-2}, steps=10, unstopped_penalty=0.0),
    "online_dpo": OnlineDPO(**SMALL, judgments=480),
    "online_rloo": OnlineRLOO(**SMALL, judgments=1440, unstopped_penalty=0.0),
}
TIMING = {"episodes_per_s"}


def says_hay(text: str) -> bool:
    return "hay" in text.split()


class HayReward:
    """7 for an answer with the word hay, 3 for any other."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([7.0 if says_hay(text) else 3.0 for text in completions])


class HayAnnotator:
    """Prefers the answer with the word hay; silent on every tenth pair; counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        self.asked += len(pairs)
        return [
            Judgment(
                pair.id,
                None if pair.id[0] == "0" and pair.output_a != pair.output_b else
                0.5 + 0.5 * says_hay(pair.output_b) - 0.5 * says_hay(pair.output_a),
                "hay", "ab", cost_usd=0.25,
            )
            for pair in pairs
        ]  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start"))


def inputs() -> Inputs:
    return Inputs(instructions=toy.instructions(80), reward=HayReward(), annotator=HayAnnotator())


def share_of_hay(policy: PolicyRef) -> float:
    from farm.generation.sampler import FarmSampler

    sampler = FarmSampler(policy, batch_size=200, max_prompt_tokens=toy.LIMITS["max_prompt_tokens"])
    answers = sampler.sample(toy.instructions(200, seed=1), n=1, seed=0)
    return float(np.mean([says_hay(answer.text) for answer in answers]))


@pytest.fixture(scope="module", params=sorted(LEARNERS))
def fitted(
    request: pytest.FixtureRequest, start: PolicyRef, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, PolicyRef]:
    work = tmp_path_factory.mktemp(request.param)
    policy = LEARNERS[request.param].fit(start, inputs(), toy.context(work))
    return request.param, work, policy


def test_it_learns_what_is_preferred(fitted: tuple[str, Path, PolicyRef], start: PolicyRef) -> None:
    name, work, policy = fitted
    assert share_of_hay(start) < 0.55
    assert share_of_hay(policy) > 0.75
    first, *_, last = toy.metrics(work)
    assert first["kl_to_start"] == pytest.approx(0, abs=1e-5) and last["kl_to_start"] > 0.1
    assert last["episodes"] == 960
    assert last["prompts"] == min(960 // LEARNERS[name].answers_per_prompt, 80)
    assert last["length"] > 0 and last["entropy"] > 0


def test_a_continued_run_equals_an_uninterrupted_one(
    fitted: tuple[str, Path, PolicyRef], start: PolicyRef, tmp_path: Path
) -> None:
    name, whole, _ = fitted
    context = toy.context(tmp_path)
    toy.interrupt_at(context, 5)
    with pytest.raises(toy.Interrupted):
        LEARNERS[name].fit(start, inputs(), context)
    again = inputs()
    LEARNERS[name].fit(start, again, context)
    assert toy.same_weights(whole / "policy", tmp_path / "policy")
    for one, other in zip(toy.metrics(whole), toy.metrics(tmp_path), strict=True):
        assert {k: v for k, v in one.items() if k not in TIMING} == {
            k: v for k, v in other.items() if k not in TIMING
        }
    if name.startswith("online"):  # steps 4 and 5 had been judged and are not asked about again
        learner = LEARNERS[name]
        assert isinstance(learner, OnlineDPO | OnlineRLOO)
        assert isinstance(again.annotator, HayAnnotator)
        assert again.annotator.asked == 5 * learner.judgments_per_step


@pytest.mark.parametrize("name", ["online_dpo", "online_rloo"])
def test_the_budget_is_kept_and_counted(name: str, start: PolicyRef, tmp_path: Path) -> None:
    given = inputs()
    learner = LEARNERS[name]
    assert isinstance(learner, OnlineDPO | OnlineRLOO)
    learner.fit(start, given, toy.context(tmp_path))
    spent = [line["judgments"] for line in toy.metrics(tmp_path)]
    assert spent == sorted(spent) and 0.8 * learner.judgments < spent[-1] <= learner.judgments
    assert toy.metrics(tmp_path)[-1]["cost_usd"] == pytest.approx(0.25 * spent[-1])


def test_groups_are_compared_all_with_all() -> None:
    assert group_pairs(6, 3) == [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]
    preferences = np.array([1.0, np.nan, 0.5, np.nan, np.nan, np.nan])
    found = mean_preferences(6, group_pairs(6, 3), preferences)
    assert found.tolist() == [0.0, 0.75, 0.5, 0.5, 0.5, 0.5]


def experts(**changes: Any) -> ExpertIteration:
    keys: dict[str, Any] = {
        **toy.LIMITS, "n": 4, "rounds": 2, "instructions": 60, "learning_rate": 5e-3,
        "epochs": 3.0, "batch_size": 20, "resume_every": 2,
    }  # fmt: skip
    return ExpertIteration(**{**keys, **changes})


def test_expert_iteration_learns_in_rounds_and_continues(start: PolicyRef, tmp_path: Path) -> None:
    saved: list[int] = []
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    whole.on_checkpoint = lambda step, save: saved.append(step)
    policy = experts().fit(start, inputs(), whole)
    assert saved == [9, 18]
    assert share_of_hay(start) + 0.25 < share_of_hay(policy)
    toy.interrupt_at(broken, 13)
    with pytest.raises(toy.Interrupted):
        experts().fit(start, inputs(), broken)
    experts().fit(start, inputs(), broken)
    last = "round-2/policy"
    assert toy.same_weights(tmp_path / "whole" / last, tmp_path / "broken" / last)
    assert toy.metrics(tmp_path / "whole") == toy.metrics(tmp_path / "broken")
    assert toy.metrics(tmp_path / "whole")[-1]["episodes"] == 2 * 4 * 60


@pytest.mark.parametrize(
    ("learner", "key", "value"),
    [
        (GRPO, "answers_per_prompt", 1),
        (GRPO, "episodes_per_step", 100),
        (RLOO, "kl_coefficient", -0.1),
        (Quark, "quantiles", 1),
    ],
)
def test_wrong_values_name_their_key(learner: Any, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        learner(**{**SMALL, key: value})


def test_a_budget_for_no_step_is_told() -> None:
    with pytest.raises(ConfigError, match="judgments=47: must be at least 48"):
        OnlineDPO(**SMALL, judgments=47)
    with pytest.raises(ConfigError, match="answers_per_prompt"):
        OnlineDPO(**SMALL, judgments=480, answers_per_prompt=4)
