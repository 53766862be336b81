"""Prompt files: `[system]` and `[user]` sections with placeholders in double braces."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from farm.errors import ConfigError
from farm.types import Message, Pair
from simulators.judges.fences import Text, fenced

MATERIAL = "material"
"""The placeholder that every user section has: where the fenced texts go."""


@dataclass(frozen=True)
class Template:
    """A prompt: all that is the same for every request comes before the material."""

    system: str
    user: str
    hash: str
    """Of the file's text and the labels in it."""

    def messages(self, material: str, examples: Sequence[Message] = ()) -> tuple[Message, ...]:
        """The chat that asks about the material."""
        return (
            Message("system", self.system),
            *examples,
            Message("user", fill(self.user, {MATERIAL: material})),
        )


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with `{{name}}` replaced in one pass: what is put in is not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values.get(found[1], found[0]), text)


def load_template(prompt: str, labels: Mapping[str, str]) -> Template:
    """The template of a file, or of the prompt of that name which comes with the package, with
    `labels` filled in. Raises ConfigError."""
    text = _text(prompt)
    found = re.fullmatch(r"\[system\]\n(.*?)\n\[user\]\n(.*)", text.strip(), re.DOTALL)
    if found is None or f"{{{{{MATERIAL}}}}}" not in found[2]:
        raise ConfigError(
            f"prompt={prompt}: the file must have a section [system], then a section [user] with "
            f"{{{{{MATERIAL}}}}} where the texts go."
        )
    system, user = (fill(section.strip(), labels) for section in found.groups())
    digest = hashlib.sha256(f"{system}\x1f{user}".encode()).hexdigest()[:16]
    return Template(system, user, digest)


@cache
def packaged() -> Mapping[str, str]:
    """The texts of the package's own prompts by name."""
    folder = resources.files("simulators.judges") / "prompts"
    return {
        file.name.removesuffix(".txt"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".txt")
    }


def _text(prompt: str) -> str:
    if prompt in packaged():
        return packaged()[prompt]
    path = Path(prompt)
    if not path.is_file():
        raise ConfigError(
            f"prompt={prompt}: there is no such file, nor a prompt of that name. Those that come "
            f"with the package: {', '.join(sorted(packaged()))}."
        )
    return path.read_text(encoding="utf-8")


def pair_texts(pair: Pair, labels: Sequence[str], prefix: str = "") -> list[Text]:
    """A pair's conversation and answers by name."""
    return answers_texts(pair.instruction.messages, (pair.output_a, pair.output_b), labels, prefix)


def answers_texts(
    messages: Sequence[Message], answers: Sequence[str], labels: Sequence[str], prefix: str = ""
) -> list[Text]:
    """A conversation's turns and the answers to it by name."""
    return [
        *(Text(f"{prefix}{message.role}", message.content) for message in messages),
        *(
            Text(f"{prefix}answer {label}", answer)
            for label, answer in zip(labels, answers, strict=True)
        ),
    ]


def pairs_material(pairs: Sequence[Pair], labels: Sequence[str]) -> str:
    """The fenced texts of one pair, or of several, numbered from 1."""
    numbered = len(pairs) > 1
    texts = [
        text
        for number, pair in enumerate(pairs, start=1)
        for text in pair_texts(pair, labels, f"pair {number} " if numbered else "")
    ]
    return fenced(texts, [pair.id for pair in pairs])
