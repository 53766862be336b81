"""Every yaml composes, its nodes build, and every key says what it means."""

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from source_trees import ROOT, YAMLS, targets

from farm.config import RUN, Command, compose, target_class
from farm.study import STUDY

CONF = ROOT / "conf"
OWNERS = (CONF / "experiment", CONF / "model")
"""Groups whose choices set keys of other groups, in folders of their own."""
CHOICES = [path for path in YAMLS if path.parent != CONF]
GIVEN = {
    "data.path": "rows.jsonl",
    "endpoints.strong.model.model": "llama",
    "endpoints.strong.model.path": "folder",
    "model.path": "folder",
    "reward.function": "math:dist",
    "study.annotators": "[barnyard,barnyard_human]",
    "study.baseline": "one",
    "study.domains": "{one: [sort], other: [add]}",
    "study.human": "barnyard_human",
    "study.rules": "{one: {overrides: [], key: decoding.temperature, values: [1.0]}}",
    "study.merges": "{mean: ['method=merge']}",
    "study.parents": "{one: [], other: []}",
    "study.seeds": "[1,2]",
    "study.texts": "{_target_: farm.data.texts.TextFile, path: texts.txt}",
    "study.trials": "{}",
    "study.tuning_seeds": "[3]",
    "study.variants": "{one: [], other: ['reward.epochs=1.0']}",
    "reward.path": "folder",
    "reward.url": "http://localhost:8000/score",
}
"""Values for the keys that yaml files leave to the user."""
NEEDS_ANOTHER_CHOICE = {
    "data.gold": ["data=files", "data.path=somewhere.jsonl"],
    "merging": ["method=merge"],
    "reward/questions": ["reward=self_assessment"],
}
"""A gold scorer is chosen for data that brings none of its own, a way to merge by who merges."""
PLACES = {"merging": "merging@method.merge"}
"""Where a group is chosen that has no place of its own."""


def _label(path: Path) -> str:
    return str(path.relative_to(CONF).with_suffix(""))


def _group(path: Path) -> str:
    return str(path.parent.relative_to(CONF))


def _must_be_given(path: Path) -> Iterator[str]:
    for key in _open_keys(yaml.safe_load(path.read_text()), _group(path)):
        yield f"{key}={GIVEN[key]}"


def _open_keys(value: object, key: str) -> Iterator[str]:
    if value == "???":
        yield key
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _open_keys(entry, f"{key}.{name}")


def _overrides(path: Path) -> list[str]:
    """What chooses this yaml on the command line."""
    owner = path.parent.parent
    if owner in OWNERS:
        chooser = _chooser(path)
        choice = path.stem.removeprefix(chooser.stem).removeprefix("_")
        of_choice = [f"{path.parent.name}={choice}"] if choice else []
        return [f"{owner.name}={chooser.stem}", *_must_be_given(chooser), *of_choice]
    group = _group(path)
    others = NEEDS_ANOTHER_CHOICE.get(group, [])
    return [*others, f"{PLACES.get(group, group)}={path.stem}", *_must_be_given(path)]


def _chooser(path: Path) -> Path:
    """experiment/smoke of experiment/method/smoke_ppo: what it sets where ppo is chosen."""
    owner = path.parent.parent
    choosers = [o for o in owner.glob("*.yaml") if f"{path.stem}_".startswith(f"{o.stem}_")]
    return max(choosers, key=lambda o: len(o.stem))  # tiny_bpe_ppo is not tiny's


def _command(path: Path) -> Command:
    """Whose choice it is: the group `study` and those that set its keys are the study's."""
    chooser = _chooser(path) if path.parent.parent in OWNERS else path
    of_study = _group(chooser) == "study" or "study" in yaml.safe_load(chooser.read_text())
    return STUDY if of_study else RUN


def _goes_with_any(path: Path) -> bool:
    """Whether it can be chosen whatever the other groups' choices are."""
    group = _group(path)
    apart = group in {"experiment", "annotators/clean"} or group in NEEDS_ANOTHER_CHOICE
    return not apart and path.parent.parent not in OWNERS and _command(path) is RUN


def _rounds() -> Iterator[list[str]]:
    """Overrides that choose one yaml of each group of those that go with any, until all have been
    chosen: composing takes its time."""
    groups: dict[str, list[Path]] = {}
    for path in filter(_goes_with_any, CHOICES):
        groups.setdefault(_group(path), []).append(path)
    for number in range(max(map(len, groups.values()))):
        chosen = [paths[number % len(paths)] for paths in groups.values()]
        yield [override for path in chosen for override in _overrides(path)]


@pytest.mark.parametrize("overrides", _rounds())
def test_choices_compose_and_build_together(overrides: list[str]) -> None:
    compose(overrides, RUN)


@pytest.mark.parametrize("path", [p for p in CHOICES if not _goes_with_any(p)], ids=_label)
def test_every_other_choice_composes_and_builds(path: Path) -> None:
    compose(_overrides(path), _command(path))


@pytest.mark.parametrize("target", sorted(targets()))
def test_constructors_are_typed_and_versioned(target: str) -> None:
    cls = target_class(target)
    hints = typing.get_type_hints(cls.__init__)
    untyped = set(inspect.signature(cls).parameters) - hints.keys()
    assert not untyped, f"{target}: no type hints for {untyped}"
    assert isinstance(getattr(cls, "stage_version", 1), int)
    assert getattr(cls, "key_excludes", frozenset()) <= hints.keys()


def _uncommented(text: str) -> Iterator[str]:
    """Lines with a key that neither end in a comment nor follow a line that is one."""
    block_indent: int | None = None
    above = ""
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if block_indent is not None and (indent > block_indent or not line.strip()):
            continue
        block_indent = indent if re.search(r":\s*[|>][-+]?(\s+#.*)?$", line) else None
        has_key = re.match(r"\s*(- )?[\w@./ ]+:(\s|$)", line)
        if has_key and " #" not in line and not above.lstrip().startswith("#"):
            yield line
        above = line


@pytest.mark.parametrize("path", YAMLS, ids=_label)
def test_every_key_has_a_comment(path: Path) -> None:
    assert not list(_uncommented(path.read_text()))
