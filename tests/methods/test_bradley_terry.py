"""The reward model learns a planted preference from labels that are clean, soft or missing."""

import json
from pathlib import Path

import numpy as np
import pytest
import toy_policy as toy

from farm.context import read_notes
from farm.errors import ConfigError, DataError
from farm.scorers.reward_model import RewardModelScorer
from farm.types import Inputs, PolicyRef, ScorerRef
from methods.reward.bradley_terry import BradleyTerry
from methods.sft import SFT


def learner(**changes: object) -> BradleyTerry:
    settings = {**toy.LIMITS, "learning_rate": 5e-3, "batch_size": 32, "epochs": 3.0}
    return BradleyTerry(**{**settings, **changes})  # type: ignore[arg-type]


def scorer(reference: ScorerRef) -> RewardModelScorer:
    config = dict(reference.config)
    assert config.pop("_target_") == "farm.scorers.reward_model.RewardModelScorer"
    return RewardModelScorer(**config)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    """A policy that knows how to repeat, as a reward model's trunk does in the pipeline."""
    folder = tmp_path_factory.mktemp("start")
    sft = SFT(**toy.LIMITS, learning_rate=1e-2, epochs=None, max_steps=250, batch_size=32)
    inputs = Inputs(demonstrations=toy.instructions(1000))
    return sft.fit(toy.starting_policy(folder / "model"), inputs, toy.context(folder / "sft"))


def test_it_learns_the_preference(start: PolicyRef, tmp_path: Path) -> None:
    reference = learner().fit(start, toy.labelled(toy.instructions(1000)), toy.context(tmp_path))
    model = scorer(reference)
    unseen = [
        i for i in toy.instructions(300, seed=1) if len(set((i.demonstration or "").split())) > 2
    ]
    good = [i.demonstration or "" for i in unseen]
    bad = [" ".join(reversed(text.split())) for text in good]
    assert np.mean(model.score(unseen, good) > model.score(unseen, bad)) > 0.9
    held_out = json.loads((tmp_path / "validation.json").read_text())
    assert held_out["accuracy"] > 0.85 and held_out["pairs"] > 20
    assert not read_notes(tmp_path)


def test_a_reward_model_that_learned_nothing_is_called_so(start: PolicyRef, tmp_path: Path) -> None:
    coin = np.random.default_rng(0).integers(2, size=600)
    asked = toy.instructions(600)
    labels = [
        toy.label(i, "hay", "oats", preference=float(c)) for i, c in zip(asked, coin, strict=True)
    ]
    learner(validation_fraction=0.5).fit(start, labels, toy.context(tmp_path))
    (note,) = read_notes(tmp_path)
    assert "which may be chance" in note


def test_first_loss_is_that_of_the_start(start: PolicyRef, tmp_path: Path) -> None:
    """A new head scores all answers alike: log 2, whatever the labels."""
    learner(epochs=None, max_steps=1).fit(
        start, toy.labelled(toy.instructions(64)), toy.context(tmp_path)
    )
    assert toy.metrics(tmp_path)[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)


def test_ties_and_missing_verdicts_are_counted(start: PolicyRef, tmp_path: Path) -> None:
    asked = toy.instructions(4)
    labels = [
        toy.label(asked[0], "hay", "oats", preference=0.9),
        toy.label(asked[1], "hay", "oats", preference=0.1),
        toy.label(asked[2], "hay", "oats", preference=0.5),
        toy.label(asked[3], "hay", "oats", preference=None),
    ]
    learner(max_steps=1, epochs=None, validation_fraction=0.0).fit(
        start, labels, toy.context(tmp_path)
    )
    counts = json.loads((tmp_path / "labels.json").read_text())
    assert counts == {"used": 3, "ties": 1, "no_verdicts_dropped": 1}


def test_soft_labels_count_for_the_side_they_lean_to() -> None:
    from farm.training.preferences import decided

    asked = toy.instructions(2)
    labels = [
        toy.label(asked[0], "hay", "oats", preference=0.51),
        toy.label(asked[1], "hay", "oats", preference=0.49),
    ]
    chosen = [(row.chosen, row.rejected) for row in decided(labels)]
    assert chosen == [("oats", "hay"), ("hay", "oats")]


def test_pairs_of_an_instruction_stay_together(start: PolicyRef, tmp_path: Path) -> None:
    asked = toy.instructions(200)
    method = learner(validation_fraction=0.3)
    labels = [toy.label(i, "hay", w, preference=1.0) for i in asked for w in ("ox", "ow")]
    training, validation = method._split(labels, seed=0)
    ids = [{label.pair.instruction.id for label in side} for side in (training, validation)]
    assert not ids[0] & ids[1]
    assert 0.1 < len(validation) / len(labels) < 0.5


def test_it_continues_after_a_kill(start: PolicyRef, tmp_path: Path) -> None:
    labels = toy.labelled(toy.instructions(100))
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    method = learner(max_steps=12, epochs=None, resume_every=5)
    method.fit(start, labels, whole)
    toy.interrupt_at(broken, 8)
    with pytest.raises(toy.Interrupted):
        method.fit(start, labels, broken)
    method.fit(start, labels, broken)
    assert toy.same_weights(tmp_path / "whole/reward_model", tmp_path / "broken/reward_model")
    assert toy.metrics(tmp_path / "whole") == toy.metrics(tmp_path / "broken")


def test_nothing_to_learn_from(start: PolicyRef, tmp_path: Path) -> None:
    label = toy.label(toy.instructions(1)[0], "hay", "oats", preference=None)
    with pytest.raises(DataError, match="1 without a verdict"):
        learner().fit(start, [label], toy.context(tmp_path))


def test_wrong_values_name_their_key() -> None:
    with pytest.raises(ConfigError, match="validation_fraction"):
        learner(validation_fraction=1.0)
