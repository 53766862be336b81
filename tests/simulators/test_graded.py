"""Graded labels: exact expectations, strengths that inform, wrappers that never contradict them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.config import build, compose, plain
from farm.data.barnyard.gold import BarnyardGold
from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair, turn_judgment, turn_pair, user_instruction
from farm.errors import ConfigError
from farm.protocols import Annotator, ExactAnnotator, FloatArray
from farm.types import Judgment, Pair
from simulators.graded import GradedRaters
from simulators.noise import DifficultyFlip, LabelFlip
from simulators.recorder import Recorder, read_lines
from simulators.shuffled_strengths import ShuffledStrengths
from simulators.votes import BothOrders, Majority, Repeats

REVERSE = user_instruction("reverse these : cow hen hay")
RIGHT, WRONG = "hay , hen , cow .", "hay , cow , hen ."
SCALES = {
    "helpfulness": {"base": 1.0, "weights": {"correct": 2.0}},
    "verbosity": {"base": 0.0, "weights": {"length": 0.2}},
}


def raters(**settings: Any) -> GradedRaters:
    chosen = {
        "name": "raters",
        "weights": {"correct": 1.0},
        "temperature": 0.5,
        "cutoffs": (0.4, 0.9),
        "attributes": SCALES,
        "rating_noise": 0.7,
        **settings,
    }
    return GradedRaters(**chosen)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Demonstrations, good and bad ones, against demonstrations of other instructions."""
    world = Barnyard(sft=3000, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    rows = world.load()["sft"]
    others = [rows[i - 45].demonstration or "" for i in range(len(rows))]
    return [make_pair(r, r.demonstration or "", o) for r, o in zip(rows, others, strict=True)]


@pytest.fixture(scope="module")
def clean() -> GradedRaters:
    annotators = plain(compose(["annotators=barnyard_graded"]))["annotators"]
    found: GradedRaters = build(annotators["clean"])
    return found


@pytest.fixture(scope="module")
def labels(clean: GradedRaters, pairs: list[Pair]) -> list[Judgment]:
    return clean.annotate(pairs, seed=0)


def strengths(judgments: Sequence[Judgment]) -> FloatArray:
    return np.array([np.nan if j.strength is None else j.strength for j in judgments])


def preferences(judgments: Sequence[Judgment]) -> FloatArray:
    return np.array([np.nan if j.preference is None else j.preference for j in judgments])


def contradictions(judgments: Sequence[Judgment]) -> int:
    sided = (preferences(judgments) - 0.5) * strengths(judgments)
    return int((sided < 0).sum())


def agreement_by_size(judgments: Sequence[Judgment], pairs: Sequence[Pair]) -> list[float]:
    """With true utility, of strengths of size 1, 2 and 3."""
    gold, asked = BarnyardGold(), [pair.instruction for pair in pairs]
    a, b = ([getattr(pair, side) for pair in pairs] for side in ("output_a", "output_b"))
    gain, said = gold.score(asked, b) - gold.score(asked, a), strengths(judgments)
    return [
        float(np.mean((said > 0)[rows] == (gain > 0)[rows]))
        for size in (1, 2, 3)
        if (rows := (np.abs(said) == size) & (gain != 0)).sum() > 100
    ]


# ------------------------------------------------------------------------------------- raters


def test_one_rater_is_bradley_and_terrys() -> None:
    pair = make_pair(REVERSE, WRONG, RIGHT)
    assert raters(raters=[1]).expectation([pair])[0] == pytest.approx(1 / (1 + np.exp(-1 / 0.5)))


def test_expectation_by_enumeration() -> None:
    """All 6^3 and 6^4 things that three or four raters can say."""
    pair = make_pair(REVERSE, WRONG, RIGHT)
    below = [1 / (1 + np.exp(-(c - 1.0) / 0.5)) for c in (-0.9, -0.4, 0.0, 0.4, 0.9)]
    chances = dict(zip((-3, -2, -1, 1, 2, 3), np.diff([0, *below, 1]), strict=True))
    expected = [
        sum(
            np.prod([chances[grade] for grade in said])
            * (1 + np.sign(np.round(sum(said) / count))) / 2
            for said in itertools.product(chances, repeat=count)
        )
        for count in (3, 4)
    ]  # fmt: skip
    assert raters(raters=[3, 4]).expectation([pair])[0] == pytest.approx(np.mean(expected))


def test_labels_come_with_their_expectation(clean: GradedRaters, pairs: list[Pair]) -> None:
    said, expected = preferences(clean.annotate(pairs, seed=3)), clean.expectation(pairs)
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.6), (0.6, 0.9), (0.9, 1.0)):
        rows = (expected >= low) & (expected <= high)
        if rows.sum() > 200:
            margin = 4 * 0.5 / np.sqrt(rows.sum())
            assert said[rows].mean() == pytest.approx(expected[rows].mean(), abs=margin)
    turned = clean.expectation([turn_pair(pair) for pair in pairs])
    assert turned == pytest.approx(1 - expected)


def test_turning_a_pair_turns_its_label_and_draws_are_fresh(
    clean: GradedRaters, pairs: list[Pair]
) -> None:
    some = pairs[:500]
    straight = clean.annotate(some, seed=1)
    back = [turn_judgment(j) for j in clean.annotate([turn_pair(p) for p in some], seed=1)]
    for one, other in zip(straight, back, strict=True):
        assert (one.preference, one.strength, one.attributes, one.votes) == (
            (other.preference, other.strength, other.attributes, other.votes)
        )
    assert clean.annotate(some[::-1], seed=1) == straight[::-1]
    assert clean.annotate(some, seed=1, draw=1) != straight != clean.annotate(some, seed=2)


def test_without_noise_ratings_are_the_scales_and_strengths_the_cutoffs() -> None:
    sure = raters(temperature=1e-3, rating_noise=0.0)
    (judgment,) = sure.annotate([make_pair(REVERSE, RIGHT, WRONG)], seed=0)
    assert (judgment.preference, judgment.strength) == (0.0, -3.0)
    assert judgment.attributes == {"helpfulness": (3.0, 1.0), "verbosity": (1.0, 1.0)}
    assert set(judgment.votes or ()) == {0.0} and 3 <= len(judgment.votes or ()) <= 5
    milder = raters(temperature=1e-3, weights={"correct": 0.6})
    assert milder.annotate([make_pair(REVERSE, WRONG, RIGHT)], seed=0)[0].strength == 2.0


def test_the_defaults_strengths_inform(labels: list[Judgment], pairs: list[Pair]) -> None:
    said = strengths(labels)
    assert set(np.unique(said)) == {-3, -2, -1, 0, 1, 2, 3}
    assert np.abs(said[said != 0]).mean() > 1.5
    assert np.array_equal(preferences(labels), (1 + np.sign(said)) / 2)
    slightly, better, much = agreement_by_size(labels, pairs)
    assert slightly + 0.05 < better < much
    rated = np.array([list(j.attributes.values()) for j in labels if j.attributes])
    assert rated.shape[1:] == (5, 2) and set(np.unique(rated)) == {0, 1, 2, 3, 4}


def test_identical_texts_tie_and_foreign_instructions_have_no_verdict(clean: GradedRaters) -> None:
    same = make_pair(REVERSE, RIGHT, RIGHT)
    foreign = make_pair(user_instruction("what is 3 + 4 ?"), "7", "8")
    tied, unknown = clean.annotate([same, foreign], seed=0)
    assert (tied.preference, tied.strength, tied.attributes) == (0.5, 0.0, None)
    assert unknown.preference is None and "barnyard" in (unknown.error or "")
    expected = clean.expectation([same, foreign])
    assert expected[0] == pytest.approx(0.5) and np.isnan(expected[1])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 0.0),
        ("cutoffs", (0.9, 0.4)),
        ("raters", []),
        ("rating_noise", -1.0),
        ("weights", {"corect": 1.0}),
        ("attributes", {"helpfulness": {"base": 0.0, "weights": {"lenght": 1.0}}}),
    ],
)
def test_values_are_checked(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        raters(**{key: value})


# ----------------------------------------------------------------------------------- wrappers


def test_a_turned_label_is_turned_as_a_whole(
    clean: GradedRaters, labels: list[Judgment], pairs: list[Pair]
) -> None:
    after = DifficultyFlip(annotator=clean, p_easy=0.25, p_hard=0.25).annotate(pairs, seed=0)
    turned = [(b, a) for b, a in zip(labels, after, strict=True) if b != a]
    assert len(turned) / len(pairs) == pytest.approx(0.25, abs=0.03)
    assert contradictions(after) == 0
    for one, other in turned:
        assert other.noised and other.strength == -(one.strength or 0.0)
        rated = {n: (b, a) for n, (a, b) in (one.attributes or {}).items()}
        assert rated == (other.attributes or {})


def test_a_coin_states_no_strength(clean: GradedRaters, pairs: list[Pair]) -> None:
    judgments = LabelFlip(annotator=clean, p=0.25).annotate(pairs[:1000], seed=0)
    coins = [j for j in judgments if j.noised]
    assert coins and all(j.strength is None and j.attributes is None for j in coins)
    assert contradictions(judgments) == 0


def test_shuffled_strengths_keep_sides_and_sizes_and_say_nothing(
    clean: GradedRaters, labels: list[Judgment], pairs: list[Pair]
) -> None:
    shuffled = ShuffledStrengths(annotator=clean)
    after = shuffled.annotate(pairs, seed=0)
    one, other = strengths(labels), strengths(after)
    assert np.array_equal(np.sign(one), np.sign(other))
    assert sorted(np.abs(one)) == sorted(np.abs(other))
    assert [j.attributes for j in labels] == [j.attributes for j in after]
    decided = one != 0
    assert abs(np.corrcoef(np.abs(one)[decided], np.abs(other)[decided])[0, 1]) < 0.07
    rates = agreement_by_size(after, pairs)
    assert max(rates) - min(rates) < 0.1
    some = shuffled.annotate(pairs[:300], seed=0)
    assert shuffled.annotate(pairs[299::-1], seed=0) == some[::-1]
    fresh = ShuffledStrengths(annotator=Recalling(labels)).annotate(pairs, seed=0, draw=1)
    assert not np.array_equal(strengths(fresh), other)
    assert isinstance(shuffled, ExactAnnotator)


def test_the_shuffled_choice_differs_in_strengths_alone(pairs: list[Pair]) -> None:
    graded, control = (
        build(plain(compose([f"annotators={name}"]))["annotators"]["train"])
        for name in ("barnyard_graded", "barnyard_graded_shuffled")
    )
    one, other = (annotator.annotate(pairs[:800], seed=0) for annotator in (graded, control))
    assert np.array_equal(preferences(one), preferences(other))
    assert sorted(np.abs(strengths(one))) == sorted(np.abs(strengths(other)))
    assert contradictions(one) == contradictions(other) == 0


def test_recorded_labels_are_the_same_again(
    labels: list[Judgment], pairs: list[Pair], tmp_path: Path
) -> None:
    path = tmp_path / "labels.jsonl"
    Recorder(annotator=Recalling(labels[:50]), path=str(path)).annotate(pairs[:50], seed=0)
    assert [judgment for _, judgment in read_lines(path)] == labels[:50]


class Recalling:
    """Says again what was said before."""

    def __init__(self, judgments: Sequence[Judgment]) -> None:
        self._judgments = list(judgments)

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        return self._judgments


class Saying:
    """Says the strengths it is given, one a draw; its ratings are the strength's size."""

    def __init__(self, *said: float) -> None:
        self._said = said

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        strength = self._said[draw]
        preference = (1 + float(np.sign(strength))) / 2
        rated = {"helpfulness": (0.0, abs(strength))}
        return [
            Judgment(p.id, preference, "s", "ab", draw, strength=strength, attributes=rated)
            for p in pairs
        ]


@pytest.mark.parametrize(
    ("wrap", "said", "preference", "strength"),
    [
        (Repeats, (1.0, 2.0, 3.0), 1.0, 2.0),
        (Repeats, (-1.0, -1.0, 3.0), 1 / 3, 0.0),  # the mean strength of 1/3 names the other side
        (Majority, (-1.0, -1.0, 3.0), 0.0, 0.0),
        (Majority, (-2.0, -2.0, 1.0), 0.0, -1.0),
        (Majority, (-1.0, 3.0), 0.5, 0.0),
    ],
)
def test_combined_strengths_do_not_contradict_the_verdict(
    wrap: Any, said: tuple[float, ...], preference: float, strength: float
) -> None:
    annotator: Annotator = wrap(annotator=Saying(*said), k=len(said))
    (judgment,) = annotator.annotate([make_pair(REVERSE, RIGHT, WRONG)], seed=0)
    assert judgment.preference == pytest.approx(preference)
    assert judgment.strength == pytest.approx(strength)
    assert judgment.attributes == {"helpfulness": (0.0, pytest.approx(np.abs(said).mean()))}


def test_both_orders_of_a_judge_who_likes_the_first_cancel() -> None:
    (judgment,) = BothOrders(annotator=Saying(-2.0)).annotate(
        [make_pair(REVERSE, RIGHT, WRONG)], seed=0
    )
    assert (judgment.preference, judgment.strength) == (0.5, 0.0)
    assert judgment.attributes == {"helpfulness": (1.0, 1.0)}
