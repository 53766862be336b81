"""What the README says can be typed: every command is one that its program understands."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.config import RUN, Command, compose
from farm.evaluate import EVALUATE
from farm.study import STUDY
from simulators.serve import SERVE
from simulators.validate import VALIDATE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMPOSED: dict[str, Command] = {
    "farm.run": RUN,
    "farm.study": STUDY,
    "farm.evaluate": EVALUATE,
    "simulators.serve": SERVE,
    "simulators.validate": VALIDATE,
}
STAND_INS = {"FILE": "rows.jsonl", "DIR_OR_HUB_NAME": "folder", "$HEAD": "head", "NAME": "judge"}
"""For words that a reader replaces."""
ELSEWHERE = {"method=mine", "your_package.LengthAverse"}
"""Words of commands with files of the reader's own: tests/test_own_package.py runs them."""


def _lines() -> Iterator[str]:
    """Lines of the blocks that are typed, those that go on joined, comments left out."""
    for block in README.split("```")[1::2]:
        if not block.startswith("\n"):  # a language's name
            continue
        for line in block.replace("\\\n", " ").splitlines():
            yield line.split(" # ")[0].split("  #")[0].strip().removesuffix(" &")


def _commands() -> list[tuple[str, list[str]]]:
    """(module, arguments) of every `python -m`."""
    found = []
    for line in _lines():
        words = shlex.split(line)
        if words[:2] == ["python", "-m"] and not any(own in line for own in ELSEWHERE):
            found.append((words[2], words[3:]))
    return found


def _typed(arguments: list[str]) -> list[str]:
    """What composing is given: the first value of each list of a sweep, options left out."""
    swept = "-m" in arguments
    typed = []
    for argument in arguments:
        for word, stand_in in STAND_INS.items():
            argument = re.sub(rf"(?<![\w/]){re.escape(word)}(?!\w)", stand_in, argument)
        key, equals, value = argument.partition("=")
        if swept and not value.startswith(("[", "{")):
            value = value.split(",")[0]
        if not argument.startswith("-") and not key.startswith("hydra/"):
            typed.append(key + equals + value)
    return typed


HYDRA = [c for c in _commands() if c[0] in COMPOSED]
OTHERS = sorted({module for module, _ in _commands() if module not in COMPOSED})


@pytest.mark.parametrize(("module", "arguments"), HYDRA, ids=lambda part: str(part)[:60])
def test_composes(module: str, arguments: list[str]) -> None:
    if "--help" not in arguments:
        compose(_typed(arguments), COMPOSED[module])


@pytest.mark.parametrize("module", OTHERS)
def test_is_a_program(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module)._parser().parse_args(["--help"])
    assert ended.value.code == 0
    assert isinstance(importlib.import_module(module)._parser(), argparse.ArgumentParser)
    assert "usage" in capsys.readouterr().out


def test_make_has_the_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {words[1] for line in _lines() if (words := line.split())[:1] == ["make"]}
    assert named and named <= targets


def test_links_and_files_exist() -> None:
    paths = re.findall(r"`((?:farm|simulators|methods|conf|tests|notebooks)/[\w./-]+)`", README)
    missing = [p for p in paths if "NAME" not in p and not (ROOT / p).exists()]
    assert not missing
