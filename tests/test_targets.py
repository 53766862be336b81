"""Nodes are checked against the constructors they name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from farm.config import build, result_config
from farm.errors import ConfigError
from farm.protocols import Scorer
from farm.targets import check_call, check_node, target_class, with_floats

HERE = __name__


@dataclass
class Part:
    size: int = 1


class Score:
    stage_version = 3
    key_excludes = frozenset({"batch"})

    def __init__(self, part: Part | None = None, batch: int = 1) -> None:
        if batch < 1:
            raise ConfigError("batch: must be 1 or more.")
        self.part = part

    def score(self, instructions: Any, completions: Any) -> None: ...


class Everything:
    def __init__(  # noqa: PLR0913 -- one keyword per kind of hint
        self,
        count: int,
        rate: float = 0.1,
        flag: bool = False,
        kind: Literal["k1", "k3"] = "k1",
        text: str | None = None,
        folder: Path | None = None,
        numbers: Sequence[float] = (),
        pair: tuple[int, str] = (0, ""),
        weights: Mapping[str, float] | None = None,
        scorer: Scorer | None = None,
    ) -> None: ...


def check(**values: Any) -> None:
    check_call(Everything, {"count": 1, **values}, "it", partial=False)


def node(cls: type[Any], **values: Any) -> dict[str, Any]:
    return {"_target_": f"{HERE}.{cls.__name__}", **values}


@pytest.mark.parametrize(
    "values",
    [
        {"rate": 1},
        {"rate": float("inf"), "flag": True, "kind": "k3"},
        {"text": "a", "folder": "somewhere"},
        {"text": None},
        {"numbers": [1, 2.5], "pair": [1, "a"], "weights": {"length": 0.5}},
        {"scorer": node(Score, part=node(Part, size=2))},
    ],
)
def test_right_values_pass(values: dict[str, Any]) -> None:
    check(**values)


@pytest.mark.parametrize(
    ("values", "where", "hint"),
    [
        ({"count": 1.5}, "it.count", "whole number"),
        ({"count": True}, "it.count", "whole number"),
        ({"count": None}, "it.count: null", "whole number"),
        ({"count": "???"}, "it.count", "it.count=VALUE"),
        ({"rate": "abc"}, "it.rate: 'abc'", "a number"),
        ({"flag": 1}, "it.flag", "true or false"),
        ({"kind": "k4"}, "it.kind", "one of k1, k3"),
        ({"kind": "kk3"}, "it.kind", "Did you mean k3"),
        ({"text": 3}, "it.text", "text or null"),
        ({"numbers": 0.5}, "it.numbers", "a list"),
        ({"numbers": ["a"]}, "it.numbers[0]", "a number"),
        ({"pair": [1]}, "it.pair", "a list"),
        ({"weights": {"length": "long"}}, "it.weights.length", "a number"),
        ({"rates": 1}, "it.rates", "Did you mean rate"),
        ({"scorer": "gold"}, "it.scorer", "Scorer"),
        ({"scorer": node(Part)}, "it.scorer._target_", "Scorer, which has score"),
        ({"scorer": node(Score, part=node(Part, sizes=2))}, "it.scorer.part.sizes", "size"),
        ({"text": node(Part)}, "it.text._target_", "text or null"),
        ({"scorer": {"_target_": f"{HERE}.Scor"}}, "it.scorer._target_", "Score"),
    ],
)
def test_wrong_values_name_key_and_neighbours(
    values: dict[str, Any], where: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**values)
    assert str(caught.value).startswith(where)
    assert hint in str(caught.value)


def test_whole_numbers_become_floats_only_where_the_hint_says_so() -> None:
    values = {
        "count": 1,
        "rate": 1,
        "flag": True,
        "numbers": [1, 2.5],
        "pair": [1, "a"],
        "weights": {"length": 1},
        "scorer": node(Score, part=node(Part, size=2), batch=3),
    }
    expected = {**values, "rate": 1.0, "numbers": [1.0, 2.5], "weights": {"length": 1.0}}
    assert repr(with_floats(node(Everything, **values), Any)) == repr(node(Everything, **expected))


def test_missing_keywords_are_named_unless_the_node_is_partial() -> None:
    with pytest.raises(ConfigError, match=r"it\.count is not set: Everything needs a whole number"):
        check_node(node(Everything), "it")
    check_node(node(Everything, _partial_=True), "it")


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("farm.scorer.Anything", "scorers"),
        ("farm.nowhere.Anything", "no module 'farm.nowhere'"),
        ("farm.errors.ConfigErr", "ConfigError"),
        ("farm.seeds.derive", "is not a class"),
        ("os.system", "Python's own"),
        ("PPO", "dotted path"),
    ],
)
def test_unknown_classes_name_their_neighbours(target: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        target_class(target)
    assert hint in str(caught.value)


def test_build_makes_nested_objects_and_completes_partial_nodes() -> None:
    score = build(node(Score, part=node(Part, size=5)))
    assert score.part == Part(5)
    waiting = node(Score, _partial_=True, batch=2)
    assert build(waiting)(part=Part(7)).part == Part(7)
    assert build(waiting, part=Part(8)).part == Part(8)


def test_errors_of_constructors_name_the_node() -> None:
    with pytest.raises(ConfigError, match="batch: must be 1"):
        build(node(Score, batch=0))


def test_result_config_keeps_what_changes_results() -> None:
    one, other = (result_config({"_target_": f"{HERE}.Score", "batch": b}) for b in (1, 64))
    assert one == other
    assert "batch" not in one
    assert one["source"]
    assert result_config({"a": [node(Part, size=1)]}) != result_config({"a": [node(Part, size=2)]})
