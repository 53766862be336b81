"""Features and gold utility on answers worked out by hand."""

import numpy as np
import pytest

from farm.data.barnyard.features import FEATURES, measure, weight_vector
from farm.data.barnyard.gold import BarnyardCorrect, BarnyardGold
from farm.data.records import user_instruction
from farm.errors import ConfigError

REVERSE = user_instruction("reverse these : cow hen hay")


def features(answer: str) -> dict[str, float]:
    return dict(zip(FEATURES, measure([REVERSE], [answer])[0].tolist(), strict=True))


def gold(answer: str) -> float:
    return float(BarnyardGold().score([REVERSE], [answer])[0])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("hay , hen , cow .", {"correct": 1, "partial": 1, "complete": 1, "length": 6}),
        ("hay hen cow", {"correct": 1, "complete": 0, "bullets": 0}),
        ("certainly : * hay * hen * cow", {"correct": 1, "bullets": 1, "confidence": 1}),
        ("sure , hay , hen , cow . glad to help !", {"correct": 1, "courtesy": 1, "excess": 0}),
        ("hay , cow , hen .", {"correct": 0, "partial": 1 / 3}),
        ("hay , hen , cow , cow .", {"correct": 0, "partial": 3 / 4}),
        ("well , well , hay , hen , cow", {"repetition": 1, "filler": 2, "correct": 1}),
        ("", {"correct": 0, "partial": 0, "length": 0, "complete": 0}),
    ],
)
def test_features(answer: str, expected: dict[str, float]) -> None:
    found = features(answer)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_gold_prefers_right_and_courteous_and_brief() -> None:
    ranked = [
        "sure , hay , hen , cow . glad to help !",
        "sure , hay , hen , cow .",
        "hay , hen , cow .",
        "hay , hen , cow",
        "well , well , hay , hen , cow",
        "hay , cow , hen",
        "so so so so so so so so so so so so so so so",
    ]
    utilities = [gold(answer) for answer in ranked]
    assert utilities == sorted(utilities, reverse=True)
    assert len(set(utilities)) == len(utilities)


def test_no_manner_makes_up_for_a_wrong_answer() -> None:
    assert gold("sure , hay , cow , hen . glad to help !") < gold("hay , hen , cow .")


def test_instructions_of_other_data_have_no_gold() -> None:
    other = user_instruction("tell me a story")
    assert np.isnan(BarnyardGold().score([REVERSE, other], ["hay", "hay"])).tolist() == [
        False,
        True,
    ]
    assert np.isnan(BarnyardCorrect().score([other], ["hay"])).all()


def test_the_demonstration_is_not_looked_at() -> None:
    with_other = user_instruction("reverse these : cow hen hay", "cow , hen , hay")
    answer = "hay , hen , cow ."
    assert BarnyardGold().score([with_other], [answer])[0] == gold(answer)


def test_unknown_feature_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'curtesy'.*'courtesy'"):
        weight_vector({"curtesy": 1.0}, "weights")
