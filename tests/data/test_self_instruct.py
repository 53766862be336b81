"""Requests for tasks, their replies, and a world that demonstrates how tasks are written."""

import math

import pytest

from farm.data.barnyard.source import Barnyard
from farm.data.diversity import distinct_n
from farm.data.records import last_user_text
from farm.data.self_instruct import (
    LEAK,
    TASK_WRITING,
    Task,
    WithTaskWriting,
    ask_for_task,
    read_task,
)
from farm.errors import ConfigError


@pytest.mark.parametrize(
    ("reply", "task"),
    [
        (" Name a river. ", Task("Name a river.", "")),
        ("Task 4: Name a river.\n\nTask 5: Name a lake.", Task("Name a river.", "")),
        ("Sort these.\nInput: 3 1\n2", Task("Sort these.", "3 1\n2")),
        ("Explain Task 2: of the list.", Task("Explain Task 2: of the list.", "")),
        ("", Task("", "")),
    ],
)
def test_a_reply_is_read_as_one_task(reply: str, task: Task) -> None:
    assert read_task(reply) == task


def test_a_task_with_input_is_one_turn() -> None:
    assert Task("Sort these.", "3 1").text == "Sort these.\n\n3 1"


def world(**changes: object) -> WithTaskWriting:
    source = Barnyard(
        sft=200, preference=20, unlabeled=20, validation=20, evaluation=20, held_out=5
    )
    return WithTaskWriting(**{"source": source, "tasks": 400, "examples": 3, **changes})


def test_demonstrations_ask_for_one_task_and_give_another() -> None:
    splits = world().load()
    own = {last_user_text(row) for row in splits["sft"][:200]}
    written = splits["sft"][200:]
    assert len(written) == 400 and {row.category for row in written} == {TASK_WRITING}
    for row in written:
        shown = [text for text in own if f": {text}" in last_user_text(row)]
        assert row.demonstration in own and row.demonstration not in shown and len(shown) >= 3
    assert all(row.category != TASK_WRITING for row in splits["evaluation"])


def test_slips_are_as_many_as_asked_and_change_nothing_else() -> None:
    careful, careless = (world(slips=slips).load()["sft"][200:] for slips in (0.0, 0.4))
    assert [row.messages for row in careful] == [row.messages for row in careless]
    changed = [
        (right.demonstration or "", slip.demonstration or "")
        for right, slip in zip(careful, careless, strict=True)
        if right.demonstration != slip.demonstration
    ]
    leaks = sum(slip == f"{right} {LEAK}" for right, slip in changed)
    assert 0.3 < len(changed) / 400 < 0.5
    assert 0.35 < leaks / len(changed) < 0.65
    assert all(slip == f"{right} {LEAK}" or right.startswith(slip) for right, slip in changed)


@pytest.mark.parametrize("change", [{"slips": 1.5}, {"examples": 0}, {"examples": 200}])
def test_mistakes_are_named(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"data.{next(iter(change))}"):
        world(**change).load()


def test_distinct_n_counts_different_n_grams() -> None:
    texts = ["a b a b", "a b c"]
    assert distinct_n(texts, 1) == pytest.approx(3 / 7)
    assert distinct_n(texts, 2) == pytest.approx(3 / 5)  # ab ba ab, ab bc
    assert math.isnan(distinct_n(["a"], 2))


def test_requests_are_told_apart_by_their_examples() -> None:
    assert ask_for_task(["a", "b"]).id != ask_for_task(["b", "a"]).id
