"""Each rule drops what it is for, and leaves ordinary tasks and answers alone."""

import pytest

from farm.data.self_instruct import Task
from methods.isheep_filters import (
    ANSWER_RULES,
    TASK_RULES,
    Draft,
    broken_by_answer,
    broken_by_tasks,
)

PLAIN = Task("Name three rivers of Europe.", "")


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        (Task("Say hello", ""), "length"),
        (Task("word " * 151, ""), "length"),
        (Task("Describe what the image below shows.", ""), "media"),
        (Task("Plot the numbers on a graph.", "1 2 3"), "media"),
        (Task("Summarise this page for me.", "https://a.example/page"), "url"),
        (Task("Name three rivers of Europe. <noinput>", ""), "no_input_leak"),
        (Task("Name three rivers of Europe.", "No input"), "no_input_leak"),
        (Task("Translate the word \u6cb3\u6d41 into English.", ""), "foreign"),
        (Task("Sort these numbers: 3 1 2", "3 1 2"), "repeated_input"),
    ],
)
def test_a_task_breaks_the_rule_it_should(task: Task, rule: str) -> None:
    assert list(broken_by_tasks([task], [])) == [rule]


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (" \n", "empty"),
        ("Assistant: the Rhine, the Elbe and the Po.", "role_marker"),
        ("The Rhine.\n\n### Response: the Elbe.", "role_marker"),
        ("B.", "multiple_choice"),
        ("A. Rhine\nB. Nile\nC. Po", "multiple_choice"),
        ("\u83b1\u8335\u6cb3", "foreign_answer"),
        ("Gladly. Could you tell me which part of Europe you mean?", "asks_back"),
    ],
)
def test_an_answer_breaks_the_rule_it_should(answer: str, rule: str) -> None:
    assert broken_by_answer(Draft(PLAIN, answer)) == rule


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        (PLAIN, "If the first fails there is always plan B. So be it."),  # the scripts drop this
        (PLAIN, "Vitamin C."),
        (PLAIN, "The word for it is user: whoever asks."),  # not at its line's beginning
        (Task("Which is right?\nA. two\nB. three", ""), "A. two\nB. three"),  # shown by the task
        (Task("Ask your neighbour one question.", ""), "Where does the river Po begin?"),
        (Task("Sort these numbers upwards, please.", "3 1 2"), "1 2 3"),
        (Task("Show the graphite and the mapmaker around.", ""), "Done with pleasure."),
        (Task("sort low to high : two one", ""), "sure , one , two . glad to help !"),
    ],
)
def test_ordinary_texts_pass(task: Task, answer: str) -> None:
    assert list(broken_by_tasks([task], [])) == [None]
    assert broken_by_answer(Draft(task, answer)) is None


def test_a_task_must_be_new() -> None:
    other = Task("Name three lakes of Europe.", "")
    again = Task("name three  RIVERS of europe.", "")
    found = list(broken_by_tasks([PLAIN, other, again, other], [other.text]))
    assert found == [None, "repeated", "repeated", "repeated"]


def test_names_tell_rules_apart() -> None:
    names = [rule.__name__ for rule in (*TASK_RULES, *ANSWER_RULES)]
    assert len(set(names)) == len(names)
