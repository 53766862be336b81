"""Reward models of strengths and ratings learn a planted quality: alone, chained and together."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_policy as toy

from farm.config import build
from farm.context import Context, read_notes
from farm.data.records import user_instruction
from farm.errors import ConfigError, DataError
from farm.protocols import FloatArray, RewardLearner, Scorer
from farm.scorers.ensemble import Worst
from farm.scorers.stored import StoredScorer, write_scorer
from farm.seeds import generator
from farm.types import Instruction, LabeledPair, PolicyRef, ScorerRef
from methods.reward.attributes import Attributes
from methods.reward.bradley_terry import BradleyTerry
from methods.reward.ensemble import Ensemble
from methods.reward.helpsteer2 import HelpSteer2
from methods.reward.margin_bradley_terry import MarginBradleyTerry
from methods.reward.scaled_bradley_terry import ScaledBradleyTerry

SETTINGS: dict[str, Any] = {
    **toy.LIMITS,
    "learning_rate": 1e-2,
    "epochs": None,
    "max_steps": 60,
    "batch_size": 32,
}
SHORT = {**SETTINGS, "max_steps": 6, "resume_every": 3}
UNHELD = {"validation_fraction": 0.0}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    return toy.starting_policy(tmp_path_factory.mktemp("start") / "model")


def answers(n: int, seed: int) -> list[str]:
    """One to four of the words."""
    rng = generator(seed, "answers")
    return [" ".join(rng.choice(toy.WORDS, rng.integers(1, 5))) for _ in range(n)]


def quality(text: str) -> float:
    """The more hay the better, at most 3."""
    return min(3.0, text.split().count("hay") + float(text.startswith("barn")))


def words(text: str) -> float:
    return float(len(text.split()))


def labelled(n: int = 600, seed: int = 0) -> list[LabeledPair]:
    """Clean labels with the difference of qualities as strength and with two ratings."""
    asked = [user_instruction(f"goat {number}") for number in range(n // 2)]
    texts = answers(2 * n, seed)
    found = []
    for number, (a, b) in enumerate(zip(texts[:n], texts[n:], strict=True)):
        strength = quality(b) - quality(a)
        preference = float(1 + np.sign(strength)) / 2
        pair, judgment = toy.label(asked[number % len(asked)], a, b, preference=preference)
        ratings = {"helpfulness": (quality(a), quality(b)), "verbosity": (words(a), words(b))}
        judgment = replace(judgment, strength=strength, attributes=ratings)
        found.append(LabeledPair(pair, judgment))
    return found


def fit(learner: RewardLearner, start: PolicyRef, context: Context) -> Scorer:
    scorer: Scorer = build(learner.fit(start, labelled(), context).config)
    return scorer


def scores(scorer: Scorer) -> tuple[FloatArray, list[str]]:
    """Of answers that nothing was learned from."""
    texts = answers(300, seed=1)
    return scorer.score([user_instruction("goat") for _ in texts], texts), texts


def agreement_with_quality(scorer: Scorer) -> float:
    """Share of unseen pairs that are ordered by quality."""
    found_N, texts = scores(scorer)
    truth_N = np.array([quality(text) for text in texts])
    i, j = np.triu_indices(len(texts), 1)
    decided = truth_N[i] != truth_N[j]
    right = (found_N[i] > found_N[j]) == (truth_N[i] > truth_N[j])
    return float(right[decided].mean())


def accuracy(work: Path) -> float:
    noted = json.loads((work / "validation.json").read_text())
    assert noted["pairs"] > 10
    return float(noted["accuracy"])


@pytest.mark.parametrize("learner", [MarginBradleyTerry, ScaledBradleyTerry])
def test_strengths_are_learned(
    learner: type[BradleyTerry], start: PolicyRef, tmp_path: Path
) -> None:
    scorer = fit(learner(**SETTINGS), start, toy.context(tmp_path))
    assert agreement_with_quality(scorer) > 0.9
    assert accuracy(tmp_path) > 0.85 and not read_notes(tmp_path)
    assert {"loss", "accuracy", "margin"} < toy.metrics(tmp_path)[-1].keys()


def test_helpfulness_is_predicted_in_points(start: PolicyRef, tmp_path: Path) -> None:
    learner = Attributes(**SETTINGS, weights={"helpfulness": 1.0})
    scorer = fit(learner, start, toy.context(tmp_path))
    found_N, texts = scores(scorer)
    assert np.mean((found_N - [quality(text) for text in texts]) ** 2) < 0.2
    assert agreement_with_quality(scorer) > 0.9
    assert accuracy(tmp_path) > 0.85
    assert {"loss", "accuracy", "margin"} < toy.metrics(tmp_path)[-1].keys()


def test_attributes_are_weighed(start: PolicyRef, tmp_path: Path) -> None:
    """Each pair lacks one of the ratings; the score is what the weights make of both."""
    learner = Attributes(**SETTINGS, weights={"helpfulness": 1.0, "verbosity": -2.0})
    labels = [
        label._replace(
            judgment=replace(
                label.judgment,
                attributes={
                    name: ratings
                    for row, (name, ratings) in enumerate((label.judgment.attributes or {}).items())
                    if row == number % 2
                },
            )
        )
        for number, label in enumerate(labelled())
    ]
    scorer = build(learner.fit(start, labels, toy.context(tmp_path)).config)
    found_N, texts = scores(scorer)
    expected = [quality(text) - 2 * words(text) for text in texts]
    assert np.corrcoef(found_N, expected)[0, 1] > 0.9


def test_labels_without_ratings_are_left_out_and_counted(start: PolicyRef, tmp_path: Path) -> None:
    labels = [
        label if number % 3 else label._replace(judgment=replace(label.judgment, attributes=None))
        for number, label in enumerate(labelled(60))
    ]
    learner = Attributes(**SHORT, weights={"helpfulness": 1.0}, **UNHELD)
    learner.fit(start, labels, toy.context(tmp_path))
    assert json.loads((tmp_path / "labels.json").read_text())["used"] == 40
    (note,) = read_notes(tmp_path)
    assert "20 of 60 labels lack" in note


@pytest.mark.parametrize("learner", [MarginBradleyTerry, ScaledBradleyTerry])
def test_labels_without_strengths_stop_it(
    learner: type[BradleyTerry], start: PolicyRef, tmp_path: Path
) -> None:
    labels = [
        label._replace(judgment=replace(label.judgment, strength=None)) for label in labelled(60)
    ]
    with pytest.raises(DataError, match="do not say how strongly"):
        learner(**SHORT).fit(start, labels, toy.context(tmp_path))
    assert not (tmp_path / "reward_model").exists()


# ------------------------------------------------------------------------------------ the chain


def chain(settings: Mapping[str, Any] = SETTINGS, **changes: Any) -> HelpSteer2:
    links = {
        "regression": Attributes(**settings, **UNHELD, weights={"helpfulness": 1.0}),
        "preference": ScaledBradleyTerry(**settings, **UNHELD),
    }
    return HelpSteer2(**{"selection_fraction": 0.1, "validation_fraction": 0.1, **links, **changes})


def test_refining_begins_with_the_head(start: PolicyRef, tmp_path: Path) -> None:
    learner = Attributes(**SHORT, weights={"helpfulness": 1.0})
    first = learner.fit(start, labelled(), toy.context(tmp_path / "first")).config["path"]
    still = ScaledBradleyTerry(**{**SHORT, "learning_rate": 1e-12})
    second = still.refine(first, labelled(), toy.context(tmp_path / "second")).config["path"]
    before, after = toy.weights(first), toy.weights(second)
    assert before["score.weight"].abs().max() > 1e-3
    for name, weight in before.items():
        assert (after[name] - weight).abs().max() < 1e-7


def test_the_chain_learns_and_extrapolates(start: PolicyRef, tmp_path: Path) -> None:
    scorer = fit(chain(), start, toy.context(tmp_path))
    assert agreement_with_quality(scorer) > 0.9
    assert accuracy(tmp_path) > 0.85
    noted = json.loads((tmp_path / "extrapolation.json").read_text())
    accuracies = dict(noted["accuracies"])
    assert list(accuracies) == list(chain().alphas) and noted["pairs"] > 10
    alpha = noted["alpha"]
    assert accuracies[alpha] == max(accuracies.values()) >= accuracies[0.0]
    found, initial, trained = (
        toy.weights(tmp_path / folder / "reward_model")
        for folder in ("", "regression", "preference")
    )
    for name, weight in found.items():
        expected = trained[name] + alpha * (trained[name] - initial[name])
        assert (weight - expected).abs().max() < 1e-5
    used = [
        json.loads((tmp_path / link / "labels.json").read_text())["used"]
        for link in ("regression", "preference")
    ]
    held_out = json.loads((tmp_path / "validation.json").read_text())["pairs"]
    assert used[0] == used[1] <= len(labelled()) - held_out - noted["pairs"]


class Interruption:
    """Raises at one of the reports of progress, counted over all links."""

    def __init__(self, context: Context, at: int) -> None:
        self._left = at
        context.on_progress = self

    def __call__(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        self._left -= 1
        if self._left == 0:
            raise toy.Interrupted


def test_the_chain_continues_after_kills(start: PolicyRef, tmp_path: Path) -> None:
    """In its first link and in its second, which have six steps each."""
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    chain(SHORT).fit(start, labelled(), whole)
    for steps in (4, 6):  # the second time it goes on after step 3
        Interruption(broken, steps)
        with pytest.raises(toy.Interrupted):
            chain(SHORT).fit(start, labelled(), broken)
    assert (tmp_path / "broken/regression/reward_model").exists()
    assert not (tmp_path / "broken/preference/reward_model").exists()
    broken.on_progress = None
    chain(SHORT).fit(start, labelled(), broken)
    for folder in ("", "regression", "preference"):
        paths = (tmp_path / name / folder / "reward_model" for name in ("whole", "broken"))
        assert toy.same_weights(*paths)
    assert not list((tmp_path / "broken").rglob("resume"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"regression": Attributes(**SHORT, weights={"a": 1.0, "b": 1.0})}, "regression.weights"),
        ({"alphas": [0.5, 1.0]}, "alphas"),
        ({"selection_fraction": 0.0}, "selection_fraction"),
    ],
)
def test_a_chain_that_cannot_be_names_its_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        chain(**changes)


# ------------------------------------------------------------------------------------ ensembles


def ensemble(settings: Mapping[str, Any] = SHORT, **changes: Any) -> Ensemble:
    member = BradleyTerry(**settings, **UNHELD)
    return Ensemble(**{"member": member, "aggregate": Worst(), "size": 2, **changes})


def member_scores(reference: ScorerRef) -> tuple[FloatArray, FloatArray]:
    """Those of the members, each less its offset, and the common one."""
    members = [scores(build(member))[0] for member in reference.config["members"]]
    return np.stack(members) - np.array(reference.config["offsets"])[:, None], scores(
        build(reference.config)
    )[0]


def test_members_differ_and_are_scored_as_one(start: PolicyRef, tmp_path: Path) -> None:
    """Wherever the artefact moves."""
    work = tmp_path / "here"
    learner = ensemble({**SETTINGS, "max_steps": 40}, validation_fraction=0.1)
    reference = learner.fit(start, labelled(), toy.context(work))
    members_M_N, common_N = member_scores(reference)
    assert np.abs(members_M_N[0] - members_M_N[1]).mean() > 0.01 * members_M_N.std()
    assert np.abs(members_M_N.mean(axis=1)).max() < 1
    np.testing.assert_array_equal(common_N, members_M_N.min(axis=0))
    assert agreement_with_quality(build(reference.config)) > 0.85
    assert accuracy(work) > 0.8
    write_scorer(reference.config, work)
    shutil.move(work, tmp_path / "there")
    moved_N, _ = scores(StoredScorer(str(tmp_path / "there")))
    np.testing.assert_array_equal(moved_N, common_N)


def test_an_ensemble_continues_after_a_kill(start: PolicyRef, tmp_path: Path) -> None:
    whole, broken = toy.context(tmp_path / "whole"), toy.context(tmp_path / "broken")
    one = ensemble().fit(start, labelled(), whole)
    Interruption(broken, 11)
    with pytest.raises(toy.Interrupted):
        ensemble().fit(start, labelled(), broken)
    broken.on_progress = None
    other = ensemble().fit(start, labelled(), broken)
    assert one.config["offsets"] == other.config["offsets"]
    for left, right in zip(one.config["members"], other.config["members"], strict=True):
        assert toy.same_weights(left["path"], right["path"])


class Unsure:
    """A reward learner that notes something, and whose scorer is no model."""

    def fit(self, start: PolicyRef, judgments: list[LabeledPair], context: Context) -> ScorerRef:
        context.note(f"seed {context.seed}")
        return ScorerRef({"_target_": "test_reward_learners.Length"})


class Length:
    def score(self, instructions: list[Instruction], completions: list[str]) -> FloatArray:
        return np.array([float(len(text)) for text in completions])


def test_any_reward_learner_can_be_a_member(start: PolicyRef, tmp_path: Path) -> None:
    learner = ensemble(member=Unsure(), size=3)
    reference = learner.fit(start, labelled(), toy.context(tmp_path))
    assert len(reference.config["members"]) == 3
    notes = read_notes(tmp_path)
    assert len(set(notes)) >= 3 and all(f"member-{n}: seed" in notes[n] for n in range(3))


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"size": 1}, "size"), ({"aggregate": Length()}, "aggregate")],
)
def test_an_ensemble_that_cannot_be_names_its_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        ensemble(**changes)
