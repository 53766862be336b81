"""What can be seen in an answer: the common ground of gold utility and of personas.

`measure` turns instruction and answer texts into one row of numbers each; utilities are weighted
sums of a row. Nothing here looks at a demonstration.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from farm.data.barnyard.grammar import read
from farm.data.barnyard.harbour import across, is_there
from farm.data.barnyard.words import ENDS, FILLERS, MANNER, SEPARATORS, Words
from farm.data.records import last_user_text
from farm.errors import ConfigError
from farm.protocols import FloatArray
from farm.types import Instruction

FEATURES: Mapping[str, str] = {
    "correct": "1 when the content is exactly the right one",
    "partial": "share of positions whose content word is right, in [0, 1]; 1 when correct",
    "complete": "1 when the text ends with a full stop or an exclamation mark",
    "courtesy": "0.5 for `sure`, 0.5 for `glad to help`",
    "excess": "words beyond what a complete and courteous right answer needs",
    "repetition": "words of manner that were said before",
    "length": "words, signs included",
    "bullets": "1 when the content is written as a bulleted list",
    "confidence": "times `certainly` is said, 3 at most, minus as many `maybe`",
    "filler": "words of manner that are not courteous, 6 at most",
}
"""Name and meaning of each column of `measure`."""

_COURTESY_WORDS = 7
"""`sure ,` and `. glad to help !`."""


def _partial(content: Words, solution: Words) -> float:
    hits = sum(a == b for a, b in zip(content, solution, strict=False))
    return hits / max(len(content), len(solution), 1)


def _row(instruction: str, answer: str) -> tuple[float, ...]:
    if is_there(instruction):  # what is right there, is right here in other words
        instruction, answer = across(instruction), across(answer)
    reading = read(instruction)
    if reading is None:
        return (np.nan,) * len(FEATURES)
    words = answer.split()
    content = [word for word in words if word not in MANNER]
    manner = [word for word in words if word in MANNER and word not in SEPARATORS]
    correct = content == reading.solution
    return (
        float(correct),
        1.0 if correct else _partial(content, reading.solution),
        float(bool(words) and words[-1] in ENDS),
        0.5 * ("sure" in manner) + 0.5 * ("glad to help" in answer),
        max(0, len(words) - 2 * len(reading.solution) - _COURTESY_WORDS),
        len(manner) - len(set(manner)),
        len(words),
        float(words.count("*") * 2 >= max(len(content), 1)),
        min(manner.count("certainly"), 3) - min(manner.count("maybe"), 3),
        min(sum(word in FILLERS for word in manner), 6),
    )


def measure(instructions: Sequence[Instruction], answers: Sequence[str]) -> FloatArray:
    """Features [N, len(FEATURES)]; a row of NaN where the instruction is not the barnyard's."""
    rows = [_row(last_user_text(i), a) for i, a in zip(instructions, answers, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))


def weight_vector(weights: Mapping[str, float], key: str) -> FloatArray:
    """The weights in the order of `FEATURES`, 0 where not named.

    Raises `ConfigError` that names `key` for a feature that does not exist.
    """
    for name in weights:
        if name not in FEATURES:
            near = get_close_matches(name, FEATURES, n=1) or list(FEATURES)
            raise ConfigError(f"{key}: there is no feature {name!r}; did you mean {near}?")
    return np.array([weights.get(name, 0.0) for name in FEATURES], dtype=np.float64)
