"""What a run builds for its way of decoding, without building anything."""

from pathlib import Path
from typing import Any

import pytest

from farm.artifacts import Artifact
from farm.builder import Step
from farm.config import compose, plain
from farm.errors import ConfigError
from farm.generation.decodings import SpecDecPP
from farm.pipeline import Pipeline
from farm.settings import Settings


class Noted:
    """An executor that says where artefacts would be."""

    def __init__(self, root: Path) -> None:
        self.steps: dict[str, Step] = {}
        self._root = root

    def ensure(self, step: Step) -> Artifact:
        self.steps[step.label] = step
        return Artifact(step.stage, step.key, self._root / step.stage / step.key)


def answers(overrides: list[str], root: Path) -> tuple[Step, dict[str, Step]]:
    """The step that makes a learned policy's answers, and all steps by label."""
    config: dict[str, Any] = plain(compose(overrides))
    noted = Noted(root)
    pipeline = Pipeline(config, Settings.from_plain(config), noted)
    pipeline.answers(pipeline.policy, "validation", "policy")
    return noted.steps["policy on validation"], noted.steps


def test_plain_decoding_needs_the_policy_alone(tmp_path: Path) -> None:
    step, steps = answers(
        ["method=best_of_n", "reward=callable", "reward.function=math:dist"], tmp_path
    )
    assert step.parents.keys() == {"policy", "instructions"}
    assert "how" not in step.config
    assert not {"draft", "acceptancehead"} & steps.keys()


def test_what_is_null_is_trained_first(tmp_path: Path) -> None:
    step, steps = answers(["method=dpo", "decoding=specdec_pp"], tmp_path)
    assert step.parents.keys() == {"policy", "instructions", "draft", "head"}
    head, draft = steps["acceptancehead"], steps["draft"]
    assert head.parents["draft"].key == step.parents["draft"].key == draft.key
    assert head.parents["start"].key == draft.parents["start"].key == steps["sft"].key
    fixed, others = answers(["method=dpo", "decoding=speculative"], tmp_path)
    assert fixed.parents["draft"].key == draft.key
    assert "acceptancehead" not in others
    assert fixed.parents["policy"].key == step.parents["policy"].key  # the same policy learned


def test_the_head_that_a_method_trains_is_the_one_that_decoding_takes(tmp_path: Path) -> None:
    step, _ = answers(["method=acceptance_head", "decoding=specdec_pp"], tmp_path)
    assert step.parents["head"].key == step.parents["policy"].key


def test_thresholds_change_answers_and_no_head(tmp_path: Path) -> None:
    one, other = (
        answers(["method=dpo", "decoding=specdec_pp", f"decoding.threshold={h}"], tmp_path)[0]
        for h in (0.3, 0.7)
    )
    assert one.key != other.key
    assert one.parents["head"].key == other.parents["head"].key


def test_a_given_head_counts_by_its_content(tmp_path: Path) -> None:
    keys = []
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "head.json").write_text(content)
        overrides = ["method=dpo", "decoding=specdec_pp", f"decoding.head={tmp_path / name}"]
        step, steps = answers(overrides, tmp_path)
        assert "acceptancehead" not in steps
        keys.append(step.key)
    assert keys[0] == keys[1] != keys[2]


def test_a_wrong_draft_ends_a_run_before_anything_learns(tmp_path: Path) -> None:
    overrides = ["method=dpo", "decoding=speculative", "decoding.draft=/no/where"]
    config: dict[str, Any] = plain(compose(overrides))
    noted = Noted(tmp_path)
    pipeline = Pipeline(config, Settings.from_plain(config), noted)
    with pytest.raises(ConfigError, match=r"decoding\.draft: .*no such directory"):
        pipeline.ask_given_decoding()
    assert set(noted.steps) <= {"instructions", "draft (given)"}


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="threshold"):
        SpecDecPP(temperature=1.0, max_new_tokens=4, draft=None, head=None, threshold=1.5)
    with pytest.raises(ConfigError, match=r"decoding\.treshold"):
        compose(["decoding=specdec_pp", "decoding.treshold=0.3"])
