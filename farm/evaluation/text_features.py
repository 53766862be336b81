"""Features of an answer's text that judges are known to like: lists and a confident tone."""

import re

_LIST_ITEM = re.compile(r"^\s*(?:[*•-]|\d+[.)]|[a-zA-Z][.)]\s)\W*\w", re.MULTILINE)
"""A line that begins with a bullet, a number or a letter: what alpaca_eval 0.6.6 counts as one."""

_CONFIDENT = re.compile(
    r"\b(absolutely|always|certainly|clearly|definitely|doubtless|evidently|indeed|obviously"
    r"|surely|undeniably|undoubtedly|unquestionably)\b"
)
_DOUBTFUL = re.compile(
    r"\b(apparently|could|likely|maybe|might|perhaps|possibly|potentially|presumably|probably"
    r"|seemingly|seems)\b"
)
"""Both lists are ours."""


def is_list(text: str) -> bool:
    """Whether any line is a list item."""
    return _LIST_ITEM.search(text) is not None


def confidence(text: str) -> int:
    """How many words sound certain, less those that sound doubtful; below 0 for a doubtful text."""
    lower = text.lower()
    return len(_CONFIDENT.findall(lower)) - len(_DOUBTFUL.findall(lower))
