"""Keys: what is in them, and that workers get what the key says."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from farm.artifacts import Artifact
from farm.builder import Step
from farm.config import compose, plain
from farm.errors import DataError
from farm.pipeline import Pipeline
from farm.settings import Settings


class Noted:
    """An executor that builds nothing and remembers what it was asked for."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def ensure(self, step: Step) -> Artifact:
        self.steps[step.label] = step
        return Artifact(step.stage, step.key, Path(step.stage) / step.key)


def planned(*overrides: str, **nodes: Any) -> tuple[Pipeline, dict[str, Step]]:
    """A pipeline, and the steps up to its learned policy; `nodes` replace the configuration's."""
    config, executor = plain(compose(overrides)) | nodes, Noted()
    pipeline = Pipeline(config, Settings.from_plain(config), executor)
    _ = pipeline.policy
    return pipeline, executor.steps


def keys(*overrides: str, **nodes: Any) -> Mapping[str, str]:
    """Their keys, by label."""
    return {label: step.key for label, step in planned(*overrides, **nodes)[1].items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {label for label in before if before[label] != after[label]}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's module with a reward in it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / f"my_reward_{os.getpid()}.py"
    path.write_text("def longer(instructions, texts): return [len(text) for text in texts]\n")
    return path


def test_the_same_configuration_has_the_same_keys() -> None:
    assert keys() == keys()


def test_a_method_goes_on_with_demonstrations_that_its_start_has_not_seen() -> None:
    def splits(*overrides: str) -> dict[str, str | None]:
        steps = planned(*overrides, "name=any")[1]
        return {label: step.config.get("demonstrations") for label, step in steps.items()}

    assert splits("method=sft", "start=instruct")["sft"] == "sft"
    assert splits("method=sft")["sft"] == "preference"  # of two steps of that name, the last
    assert splits("method=dpo")["sft"] == "sft"
    assert splits("method=dpo")["dpo"] is None


def test_an_edited_reward_function_is_another_reward(module: Path) -> None:
    chosen = ("reward=callable", f"reward.function={module.stem}:longer")
    before = keys(*chosen)
    assert keys(*chosen) == before
    module.write_text(module.read_text().replace("len(text)", "-len(text)"))
    assert changed(before, keys(*chosen)) == {"reward (given)", "ppo"}


def test_a_reward_model_of_ones_own_counts_by_its_content(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"1")
    scorer = {
        "_target_": "farm.scorers.reward_model.RewardModelScorer",
        "path": str(tmp_path),
        "max_prompt_tokens": 8,
        "max_new_tokens": 8,
    }
    before = keys(reward=scorer)
    weights.write_bytes(b"2")
    assert changed(before, keys(reward=scorer)) == {"reward (given)", "ppo"}
    with pytest.raises(DataError, match="no such file or folder"):
        keys(reward={**scorer, "path": str(tmp_path / "missing")})


def test_what_a_part_of_a_learner_reads_counts_by_its_content_wherever_it_lies(
    tmp_path: Path,
) -> None:
    def chosen(folder: Path) -> tuple[str, str]:
        critic = "method.value._target_=methods.ppo_value.RewardModelCritic"
        return critic, f"+method.value.path={folder}"

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.safetensors").write_bytes(b"1")
    before = keys(*chosen(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert keys(*chosen(tmp_path / "b")) == before
    (tmp_path / "b" / "model.safetensors").write_bytes(b"2")
    assert changed(before, keys(*chosen(tmp_path / "b"))) == {"ppo"}


def test_outputs_of_the_reference_count_by_their_content_wherever_they_lie(tmp_path: Path) -> None:
    def step(name: str, content: str) -> Step:
        (tmp_path / name).write_text(content)
        pipeline, steps = planned(f"evaluation.reference={tmp_path / name}")
        pipeline.reference_outputs("evaluation")
        return steps["reference outputs for evaluation"]

    one, other = step("a.jsonl", "{}"), step("b.jsonl", "{}")
    assert one.key == other.key
    assert other.job_config["path"] == str(tmp_path / "b.jsonl")
    assert step("b.jsonl", "[]").key != one.key


def test_a_new_version_of_a_stage_is_another_artefact(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    monkeypatch.setattr("farm.stages.judgments.STAGE_VERSION", 1000)
    assert changed(before, keys()) == {"judgments", "reward", "ppo"}


@pytest.fixture
def moving_branch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub whose main branch names another commit whenever it is asked; what it answered."""
    commits: list[str] = []

    def repo_info(self: Any, name: str, **keys: Any) -> SimpleNamespace:
        commits.append(f"{len(commits):040x}")
        return SimpleNamespace(sha=commits[-1])

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
    return commits


@pytest.mark.parametrize(
    ("chosen", "label", "node"),
    [
        (("data=alpaca_farm",), "instructions", "data"),
        (("model=pretrained", "model.path=owner/name", "start=instruct"), "model", "model"),
    ],
)
def test_the_worker_reads_the_commit_of_the_key_though_the_branch_moves(
    chosen: tuple[str, ...], label: str, node: str, moving_branch: list[str]
) -> None:
    step = planned(*chosen)[1][label]
    assert step.job_config[node]["revision"] == moving_branch[0] == "0" * 40
    assert step.identity["config"][node]["revision"] == moving_branch[0]
    assert len(moving_branch) == 1
    assert planned(*chosen, f"{node}.revision='{moving_branch[0]}'")[1][label].key == step.key
    assert len(moving_branch) == 1, "a commit is not looked up"
    assert planned(*chosen)[1][label].key != step.key


def test_the_reference_is_one_commit_for_all_splits(moving_branch: list[str]) -> None:
    pipeline, steps = planned("evaluation.reference=owner/name")
    for split in ("validation", "evaluation"):
        pipeline.reference_outputs(split)
    assert steps["reference policy"].job_config["model"]["revision"] == "0" * 40
    assert len(moving_branch) == 1


def test_the_reference_is_chosen_against_temperature_1_even_where_that_is_not_shown() -> None:
    pipeline, steps = planned("evaluation.temperatures=[0.0,0.7]")
    _ = pipeline.reference_choice
    assert {"temperature 0", "temperature 0.7", "temperature 1"} < steps["reference"].parents.keys()
