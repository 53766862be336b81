"""Features of an answer's text that judges are known to like: lists, markdown, a confident tone.

Each count can be a mediator of `farm.evaluation.mediators`.
"""

import re

_LIST_ITEM = re.compile(r"^\s*(?:[*•-]|\d+[.)]|[a-zA-Z][.)]\s)\W*\w", re.MULTILINE)
"""A line that begins with a bullet, a number or a letter: what alpaca_eval 0.6.6 counts as one."""

_MARKDOWN = re.compile(
    r"^#{1,6} \S|^```|^>|^\|.*\|$|\*\*\S.*?\*\*|`[^`\n]+`|\[[^\]\n]+\]\([^)\n]+\)", re.MULTILINE
)
"""A heading, fence, quotation, table row, bold text, code span or link."""

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


def list_items(text: str) -> int:
    """How many lines are list items."""
    return len(_LIST_ITEM.findall(text))


def markdown(text: str) -> int:
    """How many pieces of markdown there are besides list items; a fence counts at either end."""
    return len(_MARKDOWN.findall(text))


def confidence(text: str) -> int:
    """How many words sound certain, less those that sound doubtful; below 0 for a doubtful text."""
    lower = text.lower()
    return len(_CONFIDENT.findall(lower)) - len(_DOUBTFUL.findall(lower))
