"""How texts that nobody vouches for enter a prompt: between fences that they cannot forge.

A fence carries a code derived from the ids of what is judged, so that equal requests stay equal
(and are answered from the cache) while the writer of an answer, whose own text is part of what the
code is a hash of, cannot know it.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

_CHAT_MARKERS = re.compile(
    r"<(?=\|)|(?<=\|)>|<(?=/?s>)|<(?=/?(?:bos|eos|start_of_turn|end_of_turn)>)|<(?=<SYS>>|</SYS>>)"
    r"|\[(?=/?INST\])|<(?=[\uff5c\u2581])"
)
"""Where the markers begin or end that chat templates use: some servers take them for turns even
inside a message."""


class Text(NamedTuple):
    """One text of a prompt and what it is called: `user`, `answer 1`, `pair 2 answer Q`."""

    name: str
    text: str


def inert(text: str) -> str:
    """The text with chat markers split by a space, so that no server takes them for turns."""
    if "<" not in text and ">" not in text and "[" not in text:  # most texts, and quickly seen
        return text
    return _CHAT_MARKERS.sub(lambda found: f"{found[0]} " if found[0] in "<[" else " >", text)


def code_of(ids: Sequence[str], texts: Iterable[str]) -> str:
    """Twelve hexadecimal digits that occur in none of the texts, the same for the same ids."""
    joined = "\n".join(texts)
    codes = (hashlib.sha256("\x1f".join([*ids, str(n)]).encode()) for n in count())
    return next(c for c in (code.hexdigest()[:12] for code in codes) if c not in joined)


def fenced(texts: Sequence[Text], ids: Sequence[str]) -> str:
    """The texts one after the other, each inside its fence."""
    code = code_of(ids, (text for _, text in texts))
    return "\n".join(
        f"<<<begin {name} {code}>>>\n{inert(text)}\n<<<end {name} {code}>>>" for name, text in texts
    )


def read_fenced(prompt: str) -> list[Text]:
    """The texts that `fenced` put into a prompt; those of the first fence's code alone."""
    first = re.search(r"<<<begin [^\n]*? ([0-9a-f]{12})>>>\n", prompt)
    if first is None:
        return []
    code = first[1]
    fence = re.compile(rf"<<<begin ([^\n]+) {code}>>>\n(.*?)\n<<<end \1 {code}>>>", re.DOTALL)
    return [Text(*found) for found in fence.findall(prompt)]
