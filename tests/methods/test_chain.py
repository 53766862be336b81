"""Chains: each link goes on from the one before, and chains share the artefacts they begin with."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_policy as toy

from farm.artifacts import Artifact, Store
from farm.builder import Step
from farm.chains import needs_of
from farm.config import compose, plain
from farm.errors import ConfigError
from farm.pipeline import Pipeline
from farm.seeds import derive
from farm.settings import Settings
from farm.types import Inputs
from methods.chain import Chain
from methods.merge import Merge
from methods.merging.schedules import Constant
from methods.merging.ways import Slerp
from methods.orpo import ORPO
from methods.sft import SFT

LEARNERS = {
    "sft": SFT(epochs=None, max_steps=3, batch_size=8, **toy.LIMITS),
    "orpo": ORPO(epochs=None, max_steps=2, batch_size=8, **toy.LIMITS),
}


class Drawn:
    """An executor that builds nothing and remembers what it is asked for."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def ensure(self, step: Step) -> Artifact:
        self.steps[step.key] = step
        return Store(Path("nowhere")).at(step.stage, step.key)


def pipeline(links: str, *overrides: str) -> tuple[Pipeline, Drawn]:
    config = plain(compose(["method=chain", f"method.links=[{links}]", *overrides]))
    drawn = Drawn()
    return Pipeline(config, Settings.from_plain(config), drawn), drawn


def test_it_is_its_links_one_after_the_other(tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "start")
    asked = toy.instructions(32)
    inputs = Inputs(demonstrations=asked, judgments=toy.labelled(asked))
    merge = Merge(policies=["start", "orpo"], merge=Slerp(t=Constant(t=0.0)))
    chain = Chain(links={**LEARNERS, "merge": merge})
    assert chain.needs == {"demonstrations", "judgments"}
    published: list[int] = []
    context = toy.context(tmp_path / "chain")
    context.on_checkpoint = lambda step, save: published.append(step)
    learned = chain.fit(start, inputs, context)
    policy = start
    for name, learner in LEARNERS.items():
        alone = toy.context(tmp_path / name, seed=derive(0, "link", name))
        policy = learner.fit(policy, inputs, alone)
        assert toy.same_weights(policy.path, tmp_path / "chain" / name / "policy")
    assert toy.same_weights(learned.path, start.path), "t = 0 is the start"
    assert published == [1], "the last link's checkpoints alone"


def test_an_interrupted_chain_goes_on_to_the_same_policy(tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "start")
    asked = toy.instructions(32)
    inputs = Inputs(demonstrations=asked, judgments=toy.labelled(asked))
    chain = Chain(links={**LEARNERS, "orpo": replace(LEARNERS["orpo"], resume_every=1)})
    whole = chain.fit(start, inputs, toy.context(tmp_path / "whole"))
    context = toy.context(tmp_path / "killed")
    toy.interrupt_at(context, 2)
    with pytest.raises(toy.Interrupted):
        chain.fit(start, inputs, context)
    again = chain.fit(start, inputs, toy.context(tmp_path / "killed"))
    assert toy.same_weights(whole.path, again.path)


def test_links_are_learners_as_the_run_would_have_them() -> None:
    smoke = "experiment=smoke"
    alone = plain(compose(["method=orpo", smoke, "method.beta=0.5"]))["method"]
    links = "method.links=[sft,{method: orpo, beta: 0.5}]"
    chain = plain(compose(["method=chain", smoke, links]))["method"]
    assert list(chain["links"]) == ["sft", "orpo"]
    assert chain["links"]["orpo"] == alone
    assert needs_of(chain) == {"demonstrations", "judgments"}


def test_a_chain_may_make_the_start() -> None:
    links = "sft.links=[{method: sft, batch_size: 7}]"
    config = plain(compose(["method=dpo", "method@sft=chain", links]))
    assert config["sft"]["links"]["sft"]["batch_size"] == 7


def test_chains_share_what_they_begin_with() -> None:
    long, drawn = pipeline("sft,orpo,dpo")
    short, _ = pipeline("sft,{method: dpo, name: other}")
    assert long.links["sft"] == short.links["sft"]
    assert long.links["dpo"] != short.links["other"], "they go on from different policies"
    dpo = drawn.steps[long.policy.key]
    assert dpo.parents["start"] == long.links["orpo"]
    assert dpo.parents["judgments"] == long.judgments, "labels are of the start's answers"
    alone = plain(compose(["method=sft"]))
    single = Pipeline(alone, Settings.from_plain(alone), Drawn())
    assert single.policy == long.links["sft"]


def test_a_merge_names_policies(tmp_path: Path) -> None:
    folder = toy.starting_policy(tmp_path / "own").path
    merge = f"{{method: merge, policies: [start, sft, previous, {folder}], merge: {{_target_: "
    merge += "methods.merging.ways.TaskArithmetic, scale: 0.5}}"
    of, drawn = pipeline(f"sft,orpo,{merge}")
    parents = drawn.steps[of.policy.key].parents
    found = [parents[f"policy {n}"] for n in range(4)]
    assert found[:3] == [of.start, of.links["sft"], of.links["orpo"]]
    assert found[3].stage == "model"
    renamed, _ = pipeline(f"sft,orpo,{merge}".replace("previous", "orpo"))
    assert renamed.policy == of.policy, "the policies count, however they are named"


def test_alone_a_merge_goes_on_from_the_start(tmp_path: Path) -> None:
    folder = toy.starting_policy(tmp_path / "own").path
    config = plain(compose(["method=merge", f"method.policies=[previous,{folder}]"]))
    drawn = Drawn()
    of = Pipeline(config, Settings.from_plain(config), drawn)
    assert drawn.steps[of.policy.key].parents["policy 0"] == of.start


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ("sftt", r"method\.links\[0\].*sftt.*Did you mean sft"),
        ("sft,{method: orpo, bta: 1.0}", r"method\.links\.orpo\.bta.*Did you mean beta"),
        ("sft,sft", "a link sft before.*name"),
        ("{name: mine}", "CHOICE"),
        ("", "at least one learner"),
        ("{method: sft, name: start}", "the name is taken"),
        ("{name: mine, _target_: methods.sft.SFTT}", "Did you mean SFT"),
    ],
)
def test_mistyped_links_are_named_with_their_neighbours(links: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pipeline(links)


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ("sft,{method: merge, policies: [start, sff]}", r"method\.links\.merge.*Did you mean sft"),
        ("{method: merge, policies: [start, sft]},sft", "no policy sft"),
        ("{method: merge, policies: [start]}", "policies"),
    ],
)
def test_policies_that_are_not_there_are_named_before_anything_runs(links: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pipeline(links)


def test_jobs_of_a_sweep_know_their_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from farm.config import cli

    found: list[Sequence[str]] = []

    def task(config: Any) -> int:
        found.append(list(config["method"]["links"]))
        return 0

    monkeypatch.chdir(tmp_path)
    assert cli(task, ["-m", "method=chain", "method.links=[sft],[orpo]"]) == 0
    assert found == [["sft"], ["orpo"]]
