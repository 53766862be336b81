"""The harbour is the barnyard in other words, and its texts give no test away."""

from collections import Counter

import numpy as np
import pytest

from farm.data.barnyard.gold import BarnyardCorrect, BarnyardGold
from farm.data.barnyard.harbour import HARBOUR, BarnyardAndHarbour, across, is_there
from farm.data.barnyard.harbour_texts import HarbourTexts
from farm.data.barnyard.source import Barnyard
from farm.data.barnyard.words import ITEMS
from farm.data.records import last_user_text, user_instruction
from farm.errors import ConfigError
from farm.types import SPLITS, Instruction

SIZES = {"sft": 3000, "preference": 300, "unlabeled": 300, "validation": 300, "evaluation": 300}
KEYS = {"documents": 400, "logs": 0.5, "bad": 0.0, "draw": "one"}


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Instruction]]:
    world = Barnyard(**SIZES, held_out=0, correct=[0.9] * 3)
    return {k: list(v) for k, v in BarnyardAndHarbour(world=world, share=0.05).load().items()}


def test_going_across_twice_changes_nothing() -> None:
    text, there = "on the farm today keep only animals : cow hay", "keep only creatures : crab coal"
    assert across(text) == f"on the harbour today {there}"
    assert across(across(text)) == text
    assert is_there(across(text)) and not is_there("sort low to high : two one")


def test_measured_splits_are_half_there_and_others_a_little(
    splits: dict[str, list[Instruction]],
) -> None:
    share = {s: np.mean([row.source == HARBOUR for row in splits[s]]) for s in SPLITS}
    assert 0.3 < share["validation"] < 0.6 and 0.3 < share["evaluation"] < 0.6
    assert 0.03 < share["sft"] < 0.06
    ids = Counter(row.id for rows in splits.values() for row in rows)
    assert max(ids.values()) == 1
    assert all(is_there(last_user_text(r)) == (r.source == HARBOUR) for r in splits["validation"])


def test_every_word_is_known_from_training(splits: dict[str, list[Instruction]]) -> None:
    rows = splits["sft"]
    known = {w for r in rows for w in f"{last_user_text(r)} {r.demonstration}".split()}
    texts = HarbourTexts(**{**KEYS, "bad": 0.5}).texts()
    assert {word for text in texts for word in text.split()} <= known


def test_truth_reads_both_languages(splits: dict[str, list[Instruction]]) -> None:
    rows = [row for row in splits["sft"] if row.source == HARBOUR]
    answers = [str(row.demonstration) for row in rows]
    here = [user_instruction(across(last_user_text(row))) for row in rows]
    there_scores = BarnyardGold().score(rows, answers)
    np.testing.assert_allclose(
        there_scores, BarnyardGold().score(here, [across(text) for text in answers])
    )
    assert 0.8 < BarnyardCorrect().score(rows, answers).mean() < 1
    items = [i for i, row in enumerate(rows) if set(answers[i].split()) & set(map(across, ITEMS))]
    wrong_words = BarnyardCorrect().score(
        [rows[i] for i in items], [across(answers[i]) for i in items]
    )
    assert not wrong_words.any()


def test_texts_hold_no_order_that_is_asked_where_policies_are_measured(
    splits: dict[str, list[Instruction]],
) -> None:
    asked = {last_user_text(r) for s in ("validation", "evaluation") for r in splits[s]}
    texts = HarbourTexts(**{**KEYS, "documents": 4000, "logs": 1.0}).texts()
    orders = {text.partition(" . ")[0] for text in texts}
    assert len(orders) > 2000
    assert not orders & asked


def test_logs_are_right(splits: dict[str, list[Instruction]]) -> None:
    texts = [text.partition(" . ") for text in HarbourTexts(**{**KEYS, "logs": 1.0}).texts()]
    orders, answers = [user_instruction(order) for order, _, _ in texts], [a for _, _, a in texts]
    assert BarnyardCorrect().score(orders, answers).all()


def test_draws_differ_and_repeat_and_bad_texts_are_bad() -> None:
    texts = HarbourTexts(**KEYS).texts()
    assert HarbourTexts(**KEYS).texts() == texts
    assert HarbourTexts(**{**KEYS, "draw": "other"}).texts() != texts
    bad = HarbourTexts(**{**KEYS, "bad": 1.0, "logs": 1.0}).texts()
    answers = [text.partition(" . ") for text in bad]
    right = BarnyardCorrect().score(
        [user_instruction(o) for o, _, _ in answers], [a for *_, a in answers]
    )
    assert np.nan_to_num(right).mean() < 0.1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"documents": 0}, "documents"),
        ({"logs": 1.5}, "logs"),
        ({"bad": -0.1}, "bad"),
        ({"held_out_family": "recombin"}, "held_out_family"),
    ],
)
def test_wrong_values_are_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        HarbourTexts(**{**KEYS, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_share_that_would_give_tests_away_is_named(share: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.share"):
        BarnyardAndHarbour(world=Barnyard(), share=share)
