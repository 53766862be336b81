"""People drawn from utilities: their frequencies are Bradley and Terry's."""

from collections.abc import Sequence

import numpy as np
import pytest

from farm.config import build, compose, plain
from farm.data.barnyard.source import Barnyard
from farm.data.records import make_pair, turn_pair, user_instruction
from farm.errors import ConfigError
from farm.protocols import FloatArray
from farm.types import Instruction
from simulators.bradley_terry import BradleyTerryAnnotator


class Length:
    """A tenth of a unit of utility for each character; none for the answer `?`."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([np.nan if text == "?" else len(text) / 10 for text in completions])


PAIRS = [
    make_pair(user_instruction(f"asked {i}", None, None, "test"), "x" * 4, "x" * (4 + i % 7))
    for i in range(7000)
]
HUMAN = BradleyTerryAnnotator(name="human", utility=Length(), temperature=0.25)


def test_verdicts_come_with_their_probabilities() -> None:
    verdicts = np.array([j.preference for j in HUMAN.annotate(PAIRS, seed=1)])
    for gain in range(1, 7):
        said = verdicts[np.arange(len(PAIRS)) % 7 == gain]
        expected = 1 / (1 + np.exp(-gain / 10 / 0.25))
        assert said.mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(len(said)))
        assert HUMAN.expectation([PAIRS[gain]])[0] == pytest.approx(expected)
    assert (verdicts[::7] == 0.5).all()  # identical texts


def test_turning_a_pair_turns_its_verdict_and_draws_are_fresh() -> None:
    first = np.array([j.preference for j in HUMAN.annotate(PAIRS, seed=1)])
    turned = [j.preference for j in HUMAN.annotate([turn_pair(p) for p in PAIRS], seed=1)]
    np.testing.assert_array_equal(first, 1 - np.array(turned))
    other = np.array([j.preference for j in HUMAN.annotate(PAIRS, seed=1, draw=1)])
    assert 0.1 < (first != other).mean() < 0.5


def test_no_utility_is_no_verdict() -> None:
    pair = make_pair(user_instruction("asked", None, None, "test"), "?", "hay")
    (judgment,) = HUMAN.annotate([pair], seed=0)
    assert judgment.preference is None and judgment.error
    assert np.isnan(HUMAN.expectation([pair])[0])


def test_a_temperature_is_above_zero() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        BradleyTerryAnnotator(name="human", utility=Length(), temperature=0.0)


def test_the_barnyards_people_know_true_utility() -> None:
    human = build(plain(compose(["annotators=barnyard_human"]))["annotators"]["clean"])
    world = Barnyard(sft=50, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0)
    rows = [i for i in world.load()["sft"] if i.demonstration]
    pairs = [make_pair(i, "hay hay hay hay", str(i.demonstration)) for i in rows]
    assert human.expectation(pairs).mean() > 0.8
