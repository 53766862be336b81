"""The rules that a self-generated task and its answer must not break (I-SHEEP, arXiv 2408.08072).

What each rule looks for follows the released scripts; how it looks is ours. Where the scripts take
any single letter before a full stop for the debris of a multiple choice, and so drop "plan B.",
options count here only at the beginnings of lines.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from farm.data.self_instruct import Task

FEWEST_WORDS, MOST_WORDS = 4, 150

_MEDIA = (
    "image", "images", "picture", "pictures", "photo", "photos", "graph", "graphs", "chart",
    "charts", "diagram", "diagrams", "map", "maps", "file", "files", "video", "videos", "audio",
    "music", "draw", "plot",
)  # fmt: skip
"""Words of tasks that text alone cannot do; the list is ours, around the scripts' image, graph and
file."""
_MEDIA_WORD = re.compile(rf"\b(?:{'|'.join(_MEDIA)})\b", re.IGNORECASE)
_URL = re.compile(r"https?://|www\.\w", re.IGNORECASE)
_NO_INPUT = re.compile(r"\bno\s?input\b|<\s*no\s?input\s*>", re.IGNORECASE)
_ROLE = re.compile(
    r"^\W*(?:assistant|human|user|system|ai|instruction|response)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_OPTION = re.compile(r"^\s*\(?([A-E])[.)](?=\s|$)", re.MULTILINE)
_FOREIGN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_ASKS_BACK = re.compile(
    r"\b(?:(?:could|can|would|do|will) you|(?:shall|should|can|may) i|what (?:is|are) your)\b",
    re.IGNORECASE,
)


class Draft(NamedTuple):
    """A task with the answer to it."""

    task: Task
    answer: str


TaskRule = Callable[[Task], bool]
"""Whether a task breaks the rule."""
AnswerRule = Callable[[Draft], bool]
"""Whether an answer breaks it."""


# -------------------------------------------------------------------------------------- tasks


def length(task: Task) -> bool:
    """An instruction of fewer than 4 words, or of more than 150."""
    return not FEWEST_WORDS <= len(task.instruction.split()) <= MOST_WORDS


def media(task: Task) -> bool:
    """About what text cannot hold."""
    return _MEDIA_WORD.search(task.text) is not None


def url(task: Task) -> bool:
    """With an address of the web."""
    return _URL.search(task.text) is not None


def no_input_leak(task: Task) -> bool:
    """With the marker of the prompt for tasks without input."""
    return _NO_INPUT.search(task.text) is not None


def foreign(task: Task) -> bool:
    """With Chinese, Japanese or Korean characters."""
    return _FOREIGN.search(task.text) is not None


def repeated_input(task: Task) -> bool:
    """With an input that stands in the instruction already."""
    given = _plain(task.input)
    return bool(given) and f" {given} " in f" {_plain(task.instruction)} "


TASK_RULES: tuple[TaskRule, ...] = (length, media, url, no_input_leak, foreign, repeated_input)


# ------------------------------------------------------------------------------------ answers


def empty(draft: Draft) -> bool:
    """Nothing is said."""
    return not draft.answer.strip()


def role_marker(draft: Draft) -> bool:
    """A line begins with the name of a chat's role or of a prompt's part, and a colon."""
    return _ROLE.search(draft.answer) is not None


def multiple_choice(draft: Draft) -> bool:
    """Nothing but one option's letter, or several lines that begin with options, where the task
    shows none."""
    found = _OPTION.findall(draft.answer)
    alone = re.fullmatch(r"\s*\(?[A-E][.)]?\s*", draft.answer) is not None
    return (alone or len(found) > 1) and not _OPTION.search(draft.task.text)


def foreign_answer(draft: Draft) -> bool:
    """With Chinese, Japanese or Korean characters."""
    return _FOREIGN.search(draft.answer) is not None


def asks_back(draft: Draft) -> bool:
    """Ends in a question to whoever gave the task."""
    text = draft.answer.strip()
    last = re.split(r"(?<=[.!?])\s+", text)[-1]
    return text.endswith("?") and _ASKS_BACK.search(last) is not None


ANSWER_RULES: tuple[AnswerRule, ...] = (
    empty, role_marker, multiple_choice, foreign_answer, asks_back,
)  # fmt: skip


# --------------------------------------------------------------------------------------- both


REPEATED = "repeated"
"""What a task breaks that is a seed task, or one that was written before."""
PASSED = "passed"
"""Of drafts that break no rule."""


def broken_by_tasks(tasks: Sequence[Task], seeds: Sequence[str]) -> Iterator[str | None]:
    """For each task the name of the first rule that it breaks, None where it breaks none. That
    tasks must be new is ours."""
    known = {_plain(text) for text in seeds}
    for task in tasks:
        rule = next((rule.__name__ for rule in TASK_RULES if rule(task)), None)
        own = _plain(task.text)
        yield rule or (REPEATED if own in known else None)
        known.add(own)


def broken_by_answer(draft: Draft) -> str | None:
    """The name of the first rule that the answer breaks."""
    return next((rule.__name__ for rule in ANSWER_RULES if rule(draft)), None)


def count_broken(drafts: Sequence[Draft]) -> Counter[str]:
    """How many drafts each rule drops, the task's rules first; `passed` are all others."""
    rules = broken_by_tasks([draft.task for draft in drafts], [])
    return Counter(
        rule or broken_by_answer(draft) or PASSED for draft, rule in zip(drafts, rules, strict=True)
    )


def _plain(text: str) -> str:
    """In small letters, one space between words."""
    return " ".join(text.lower().split())
