"""Personas, pools and wrappers: exact expectations, seeded verdicts, orientation."""

from collections.abc import Sequence

import numpy as np
import pytest

from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair, turn_judgment, turn_pair, user_instruction
from farm.errors import ConfigError
from farm.protocols import Annotator, ExactAnnotator
from farm.types import Judgment, Pair
from simulators.noise import LabelFlip, ShuffledLabels
from simulators.order import RandomOrder
from simulators.overlap import DemonstrationOverlap
from simulators.persona import Persona
from simulators.pool import Pool

REVERSE = user_instruction("reverse these : cow hen hay")
RIGHT, WRONG = "hay , hen , cow .", "hay , cow , hen ."
STRICT = Persona(name="strict", weights={"correct": 1.0}, temperature=0.5)
BIASED = Persona(name="biased", weights={"correct": 1.0}, temperature=0.5, position_bias=0.8)
POOL = Pool(
    annotators=[
        STRICT,
        BIASED,
        Persona(name="long", weights={"length": 0.1}, temperature=0.4, position_bias=0.2),
    ]
)
TRAIN = LabelFlip(annotator=RandomOrder(annotator=POOL), p=0.25)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Demonstrations against demonstrations of other instructions and against shorter ones."""
    world = Barnyard(sft=6000, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    rows = world.load()["sft"]
    others = [rows[i - 45].demonstration or "" for i in range(len(rows))]
    return [make_pair(r, r.demonstration or "", o) for r, o in zip(rows, others, strict=True)]


def verdicts(judgments: Sequence[Judgment]) -> list[float]:
    return [float(j.preference) for j in judgments if j.preference is not None]


def test_expectation_in_closed_form() -> None:
    pair = make_pair(REVERSE, WRONG, RIGHT)
    assert STRICT.expectation([pair])[0] == pytest.approx(sigmoid(1 / 0.5))
    both_orders = (sigmoid((1 - 0.8) / 0.5) + sigmoid((1 + 0.8) / 0.5)) / 2
    assert BIASED.expectation([pair])[0] == pytest.approx(both_orders)
    assert Pool(annotators=[STRICT, BIASED]).expectation([pair])[0] == pytest.approx(
        (sigmoid(2) + both_orders) / 2
    )


def test_expectation_turns_with_the_pair(pairs: list[Pair]) -> None:
    turned = POOL.expectation([turn_pair(pair) for pair in pairs])
    assert np.allclose(turned, 1 - POOL.expectation(pairs))


@pytest.mark.parametrize("annotator", [STRICT, RandomOrder(annotator=POOL)])
def test_verdicts_have_the_stated_expectation(annotator: Annotator, pairs: list[Pair]) -> None:
    assert isinstance(annotator, ExactAnnotator)
    drawn = np.array(verdicts(annotator.annotate(pairs, seed=3)))
    expected = annotator.expectation(pairs)
    for low, high in ((0.0, 0.35), (0.35, 0.65), (0.65, 1.0)):
        rows = (expected >= low) & (expected <= high)
        if rows.sum() > 200:
            assert drawn[rows].mean() == pytest.approx(expected[rows].mean(), abs=0.04)


@pytest.mark.parametrize("annotator", [STRICT, RandomOrder(annotator=POOL), TRAIN])
def test_handing_a_pair_in_turned_turns_the_verdict(
    annotator: Annotator, pairs: list[Pair]
) -> None:
    straight = annotator.annotate(pairs, seed=5)
    turned = annotator.annotate([turn_pair(pair) for pair in pairs], seed=5)
    assert verdicts([turn_judgment(j) for j in turned]) == verdicts(straight)


def test_position_bias_favours_what_is_shown_first(pairs: list[Pair]) -> None:
    biased = Persona(name="first", weights={}, temperature=0.5, position_bias=0.5)
    assert np.mean(verdicts(biased.annotate(pairs, seed=0))) < 0.35
    averaged = RandomOrder(annotator=biased).annotate(pairs, seed=0)
    assert np.mean(verdicts(averaged)) == pytest.approx(0.5, abs=0.03)
    assert {j.order for j in averaged} == {"ab", "ba"}


def test_chunks_and_order_do_not_change_verdicts(pairs: list[Pair]) -> None:
    whole = TRAIN.annotate(pairs, seed=1)
    assert TRAIN.annotate(pairs[100:200], seed=1) == whole[100:200]
    assert TRAIN.annotate(pairs[::-1], seed=1) == whole[::-1]
    assert TRAIN.annotate(pairs, seed=2) != whole


@pytest.mark.parametrize(
    "annotator", [BIASED, POOL, TRAIN, ShuffledLabels(annotator=POOL), RandomOrder(annotator=POOL)]
)
def test_identical_texts_are_a_tie(annotator: Annotator) -> None:
    same = [make_pair(REVERSE, text, text) for text in (RIGHT, WRONG)]
    assert verdicts(annotator.annotate(same, seed=0)) == [0.5, 0.5]


def test_every_member_of_the_pool_is_asked(pairs: list[Pair]) -> None:
    names = [j.annotator for j in POOL.annotate(pairs, seed=0)]
    shares = [names.count(name) / len(names) for name in ("strict", "biased", "long")]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)


class Fixed:
    """Says the same of every pair, and counts how many it was asked about."""

    def __init__(self, preference: float | None) -> None:
        self.preference = preference
        self.asked = 0

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        self.asked += len(pairs)
        return [Judgment(pair.id, self.preference, "fixed", "ab") for pair in pairs]


@pytest.mark.parametrize("preference", [0.0, 0.5, 0.8, 1.0])
def test_label_noise_has_alpacafarms_expectation(preference: float, pairs: list[Pair]) -> None:
    judge = Fixed(preference)
    judgments = LabelFlip(annotator=judge, p=0.25).annotate(pairs, seed=0)
    expected = 0.5 * preference + 0.25
    assert np.mean(verdicts(judgments)) == pytest.approx(expected, abs=0.02)
    noised = sum(j.noised for j in judgments)
    assert noised / len(pairs) == pytest.approx(0.5, abs=0.03)
    assert judge.asked == len(pairs) - noised  # replaced verdicts cost nothing


def test_no_verdict_stays_no_verdict(pairs: list[Pair]) -> None:
    judgments = LabelFlip(annotator=RandomOrder(annotator=Fixed(None)), p=0.25).annotate(
        pairs, seed=0
    )
    assert all((j.preference is None) != j.noised for j in judgments)


def test_personas_have_no_verdict_on_what_they_cannot_judge() -> None:
    """Whatever the wrappers, and without a guess for identical texts either."""
    sums = user_instruction("what is 3 + 4 ?")
    foreign = [make_pair(sums, "7", "8"), make_pair(sums, "8", "7"), make_pair(sums, "7", "7")]
    wrapped = RandomOrder(annotator=POOL)
    for annotator in (STRICT, POOL, wrapped, LabelFlip(annotator=wrapped, p=0.0)):
        judgments = annotator.annotate(foreign, seed=0)
        assert [j.preference for j in judgments] == [None] * 3
        assert all("barnyard" in str(j.error) for j in judgments)
    for exact in (STRICT, POOL, wrapped):
        assert np.isnan(exact.expectation(foreign)).all()


def test_a_pool_expects_what_its_members_who_can_judge_expect() -> None:
    sums = user_instruction("what is 3 + 4 ?", "it is seven")
    overlap = DemonstrationOverlap()
    pair = make_pair(sums, "it is eight", "it is seven")
    pool = Pool(annotators=[STRICT, overlap])
    assert pool.expectation([pair]) == pytest.approx(overlap.expectation([pair]))


def test_who_asks_someone_that_is_no_program_is_none_either() -> None:
    """So that evaluation takes its verdicts instead of an expectation."""
    mixed = Pool(annotators=[STRICT, Fixed(1.0)])
    for annotator in (mixed, RandomOrder(annotator=mixed), RandomOrder(annotator=TRAIN), TRAIN):
        assert not isinstance(annotator, ExactAnnotator)


def test_shuffled_labels_say_nothing(pairs: list[Pair]) -> None:
    judgments = ShuffledLabels(annotator=STRICT).annotate(pairs, seed=0)
    expected = STRICT.expectation(pairs)
    assert expected.std() > 0.2
    assert abs(np.corrcoef(verdicts(judgments), expected)[0, 1]) < 0.04


@pytest.mark.parametrize("p", [-0.1, 0.6])
def test_flip_probability_is_checked(p: float) -> None:
    with pytest.raises(ConfigError, match=r"between 0 and 0\.5"):
        LabelFlip(annotator=STRICT, p=p)
    with pytest.raises(ConfigError, match="member"):
        Pool(annotators=[])
    with pytest.raises(ConfigError, match="temperature"):
        Persona(name="x", weights={}, temperature=0.0)
