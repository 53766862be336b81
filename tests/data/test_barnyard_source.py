"""Splits, demonstrations and vocabulary of the embedded world."""

from collections import Counter

import numpy as np
import pytest

from farm.data.barnyard.gold import BarnyardCorrect
from farm.data.barnyard.grammar import FAMILIES
from farm.data.barnyard.source import Barnyard
from farm.data.records import last_user_text
from farm.errors import ConfigError
from farm.types import SPLITS, Instruction

SMALL = {"sft": 4500, "preference": 450, "unlabeled": 450, "validation": 90, "evaluation": 90}


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Instruction]]:
    return dict(Barnyard(**SMALL, held_out=30).load())


def words(rows: list[Instruction]) -> set[str]:
    texts = [last_user_text(row) for row in rows] + [row.demonstration or "" for row in rows]
    return {word for text in texts for word in text.split(" ")}


def test_splits_are_disjoint_and_sized(splits: dict[str, list[Instruction]]) -> None:
    sizes = {split: len(splits[split]) for split in SPLITS}
    assert sizes == {**SMALL, "evaluation": 120}
    ids = Counter(row.id for rows in splits.values() for row in rows)
    assert max(ids.values()) == 1


def test_held_out_family_is_only_evaluated(splits: dict[str, list[Instruction]]) -> None:
    where = {split for split in SPLITS for row in splits[split] if row.category == "recombine"}
    assert where == {"evaluation"}
    assert {row.category for row in splits["sft"]} == set(FAMILIES) - {"recombine"}


def test_small_closed_vocabulary(splits: dict[str, list[Instruction]]) -> None:
    taught = words(splits["sft"])
    assert len(taught) <= 110
    assert all(words(rows) <= taught for rows in splits.values())
    rows = [row for split in splits.values() for row in split]
    lengths = [len(str(row.demonstration).split()) for row in rows]
    assert max(lengths) <= 27
    assert 6 <= np.mean(lengths) <= 12
    assert all(row.demonstration == " ".join(str(row.demonstration).split()) for row in rows)


def test_demonstrators_skill_falls_with_difficulty() -> None:
    world = Barnyard(**SMALL, correct=[0.8, 0.5, 0.2], slips=0.1)
    rows = world.load()["sft"]
    correct = BarnyardCorrect().score(rows, [str(row.demonstration) for row in rows])
    difficulty = np.arange(len(rows)) // 15 % 3  # families take turns, then difficulties
    shares = [correct[difficulty == d].mean() for d in (0, 1, 2)]
    assert shares == pytest.approx([0.8, 0.5, 0.2], abs=0.04)


def test_equal_for_equal_seeds_and_evaluation_does_not_depend_on_other_sizes(
    splits: dict[str, list[Instruction]],
) -> None:
    again = Barnyard(**{**SMALL, "sft": 900}, held_out=30).load()
    assert again["evaluation"] == splits["evaluation"]
    assert again["sft"] == splits["sft"][:900]
    other = Barnyard(**SMALL, held_out=30, world_seed=1).load()
    assert other["evaluation"] != splits["evaluation"]


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"held_out_family": "recombin"}, "data.held_out_family"),
        ({"correct": [0.5, 0.5]}, "data.correct"),
        ({"correct": [0.5, 0.5, 1.5]}, "data.correct"),
        ({"slips": -0.1}, "data.slips"),
        ({"sft": -1}, "data.sft"),
    ],
)
def test_wrong_values_are_named(keys: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Barnyard(**keys)  # type: ignore[arg-type]


def test_a_family_can_run_out_of_instructions() -> None:
    with pytest.raises(ConfigError, match="no more instructions"):
        Barnyard(sft=400_000).load()
