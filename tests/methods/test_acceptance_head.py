"""SpecDec++'s head: its labels and loss by closed forms, and that it foresees acceptance."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_policy as toy
from safetensors.torch import load_file
from torch.nn import functional

from farm.artifacts import Store
from farm.errors import ConfigError, DataError
from farm.evaluation.speculation import auroc, calibration_error, reliability
from farm.generation.sampler import Drawn, FarmSampler
from farm.generation.stop_rules import TrainedHead
from farm.models.load import load_policy
from farm.protocols import FloatArray
from farm.stages import speculation as stage
from farm.stages.job import Job
from farm.stages.pointers import policy_path
from farm.types import Inputs, PolicyRef, Speculation
from methods.acceptance_head import AcceptanceHead, acceptance, weighted_losses

SHARP = 4.0
"""Fresh models are nearly uniform; scaled output layers make them disagree."""


def learner(**changes: object) -> AcceptanceHead:
    settings = {**toy.LIMITS, "instructions": 400, "epochs": 10.0, "learning_rate": 1e-2}
    return AcceptanceHead(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[PolicyRef, PolicyRef]:
    """A policy and a draft that is near it on some tokens alone."""
    folder = tmp_path_factory.mktemp("policies")
    policy, draft = (toy.starting_policy(folder / name, seed=0) for name in ("policy", "draft"))
    for ref, faithful in ((policy, 1.0), (draft, -0.5)):
        model = load_policy(ref.path, "cpu")
        with torch.no_grad():
            model.lm_head.weight *= SHARP
            model.lm_head.weight[::3] *= faithful
        model.save_pretrained(ref.path)
    return policy, draft


def fitted(policies: tuple[PolicyRef, PolicyRef], work: Path, **changes: object) -> Path:
    start, draft = policies
    inputs = Inputs(instructions=toy.instructions(400), draft=draft)
    assert learner(**changes).fit(start, inputs, toy.context(work)) == start
    return work / "head"


@pytest.fixture(scope="module")
def head(policies: tuple[PolicyRef, PolicyRef], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(policies, tmp_path_factory.mktemp("work"))


def test_the_loss_is_the_papers() -> None:
    """sum w (1 - a)(-log(1 - â)) + a (-log â) over its weights, by torch's own cross-entropy."""
    generator = torch.Generator().manual_seed(0)
    odds_N = torch.randn(40, generator=generator)
    a_N = torch.rand(40, generator=generator)
    losses_N, weights_N = weighted_losses(odds_N, a_N, 6.0)
    expected = functional.binary_cross_entropy_with_logits(
        torch.cat([odds_N, odds_N]),
        torch.cat([torch.zeros(40), torch.ones(40)]),
        weight=torch.cat([6 * (1 - a_N), a_N]),
        reduction="sum",
    )
    torch.testing.assert_close(losses_N.sum(), expected)
    torch.testing.assert_close(weights_N, 6 * (1 - a_N) + a_N)


def test_the_best_estimate_of_equal_tokens_is_the_weighted_share() -> None:
    """A weight w moves the optimum from a to a / (w (1 - a) + a): rejections count more."""
    odds = torch.linspace(-6, 6, 4001)
    losses, _ = weighted_losses(odds, torch.tensor(0.8), 6.0)
    assert float(odds[losses.argmin()].sigmoid()) == pytest.approx(0.8 / (6 * 0.2 + 0.8), abs=2e-3)


def test_labels_are_the_probability_of_acceptance() -> None:
    p, q = torch.tensor([[0.5, 0.3, 0.2]] * 3), torch.tensor([[0.25, 0.5, 0.25]] * 3)
    found = acceptance(p, q, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.6, 0.8]))


def test_answers_are_mixed_as_said(policies: tuple[PolicyRef, PolicyRef]) -> None:
    """A share `mixing` of tokens is the policy's own, all others are learned from, and proposals
    follow the draft: their mean acceptance is sum min(p, q)."""
    policy, draft = (load_policy(ref.path, "cpu") for ref in policies)
    answers = [[7, 8, 9, 10, 11, 12]] * 600
    drawn = Drawn([[1, 7, 8, 2]] * 600, answers, [False] * 600)
    found = learner(mixing=0.4).mixed(policy, draft, drawn, list(range(600)))
    learned = np.array([answer.learned for answer in found])
    tokens = np.array([answer.tokens for answer in found])
    assert (learned | (tokens == np.array(answers))).all()
    with torch.inference_mode():
        ids = torch.tensor([[1, 7, 8, 2, 7, 8, 9, 10, 11, 12]])
        p, q = (model(ids).logits[0, 3:-1].softmax(-1) for model in (policy, draft))
    own = q.gather(1, torch.tensor(answers[:1]).T)[:, 0].numpy()
    assert learned.mean(0) == pytest.approx(0.6 + 0.4 * own, abs=0.08)
    expected = torch.minimum(p, q).sum(-1).numpy()
    assert np.array([a.acceptance for a in found]).mean(0) == pytest.approx(expected, abs=0.06)


def test_it_foresees_acceptance(policies: tuple[PolicyRef, PolicyRef], head: Path) -> None:
    """Of proposals while decoding unseen instructions; the true probabilities are the ceiling."""
    found = foreseen(policies, head)
    by_head, ceiling = (auroc(found[row], found[2] > 0) for row in (0, 1))
    assert ceiling > by_head > 0.65


def test_unweighted_estimates_are_probabilities(
    policies: tuple[PolicyRef, PolicyRef], tmp_path: Path
) -> None:
    found = foreseen(policies, fitted(policies, tmp_path, rejection_weight=1.0))
    assert calibration_error(reliability(found[0], found[2] > 0)) < 0.08


def foreseen(policies: tuple[PolicyRef, PolicyRef], head: Path) -> FloatArray:
    """Estimates, probabilities and outcomes, [3, N]."""
    start, draft = policies
    rule = TrainedHead(head=str(head), threshold=1.0, max_tokens=5)
    policy = replace(start, speculation=Speculation(draft.path, rule))
    sampler = FarmSampler(policy, 64, toy.LIMITS["max_prompt_tokens"], "cpu")
    found = sampler.speculate(toy.instructions(200, seed=1), n=2, seed=0)
    tested: FloatArray = torch.cat(found.tested, dim=1).double().numpy()
    return tested[:, ~np.isnan(tested[0])]


def test_a_kill_changes_nothing(policies: tuple[PolicyRef, PolicyRef], tmp_path: Path) -> None:
    start, draft = policies
    inputs = Inputs(instructions=toy.instructions(400), draft=draft)
    short = learner(epochs=2.0, resume_every=5)
    short.fit(start, inputs, toy.context(tmp_path / "whole"))
    context = toy.context(tmp_path / "killed")
    toy.interrupt_at(context, 12)
    with pytest.raises(toy.Interrupted):
        short.fit(start, inputs, context)
    assert not (tmp_path / "killed" / "head").exists()
    short.fit(start, inputs, toy.context(tmp_path / "killed"))
    one, other = (
        load_file(tmp_path / name / "head" / "head.safetensors") for name in ("whole", "killed")
    )
    assert all(one[name].equal(other[name]) for name in one)


def test_what_it_publishes_is_the_start(
    policies: tuple[PolicyRef, PolicyRef], tmp_path: Path
) -> None:
    start, draft = policies
    saved: Mapping[int, Path] = {}
    context = toy.context(tmp_path / "work")

    def keep(step: int, save: object) -> None:
        (tmp_path / "checkpoint").mkdir()
        save(tmp_path / "checkpoint")  # type: ignore[operator]
        saved[step] = tmp_path / "checkpoint"  # type: ignore[index]

    context.on_checkpoint = keep
    learner(epochs=None, max_steps=2).fit(
        start, Inputs(instructions=toy.instructions(20), draft=draft), context
    )
    assert [policy_path(folder) for folder in saved.values()] == [start.path]


def test_a_given_head_is_copied_and_a_wrong_one_named(head: Path, tmp_path: Path) -> None:
    for path, right in ((head, True), (tmp_path, False)):
        with Store(tmp_path / "store").building("head", path.name, lambda: None) as build:
            job = Job(
                "farm.stages.speculation:given_head", "head", path.name, build.work, build.token,
                tmp_path, {"path": str(path)}, {}, seed=0,
            )  # fmt: skip
            if right:
                stage.given_head(job)
                assert (build.work / "head" / "head.safetensors").exists()
            else:
                with pytest.raises(ConfigError, match=r"decoding\.head"):
                    stage.given_head(job)


def test_mistakes_are_named(policies: tuple[PolicyRef, PolicyRef], tmp_path: Path) -> None:
    for key, value in (
        ("mixing", 1.0),
        ("temperature", 0.0),
        ("rejection_weight", 0),
        ("depth", -1),
    ):
        with pytest.raises(ConfigError, match=key):
            learner(**{key: value})
    with pytest.raises(DataError, match="unlabeled"):
        learner().fit(policies[0], Inputs(draft=policies[1]), toy.context(tmp_path))
