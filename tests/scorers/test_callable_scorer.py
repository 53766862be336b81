"""A function becomes a scorer; what it returns is checked."""

import sys
from types import ModuleType

import numpy as np
import pytest
import toy_policy as toy

from farm.errors import ConfigError, DataError
from farm.scorers.callable import CallableScorer

ASKED = toy.instructions(3)
TEXTS = ["hay", "oats hay", ""]


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = ModuleType("reward_functions")
    functions.length = lambda instructions, texts: [len(text) for text in texts]  # type: ignore[attr-defined]
    functions.sometimes = lambda instructions, texts: [float("nan")] * len(texts)  # type: ignore[attr-defined]
    functions.short = lambda instructions, texts: [1.0]  # type: ignore[attr-defined]
    functions.endless = lambda instructions, texts: [0.0, float("inf"), 0.0]  # type: ignore[attr-defined]
    functions.wordy = lambda instructions, texts: ["good", "bad", "bad"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "reward_functions", functions)


def test_it_scores() -> None:
    assert CallableScorer("reward_functions:length").score(ASKED, TEXTS).tolist() == [3, 8, 0]


def test_nan_means_it_does_not_apply() -> None:
    assert np.isnan(CallableScorer("reward_functions:sometimes").score(ASKED, TEXTS)).all()


@pytest.mark.parametrize(
    ("name", "problem"),
    [("short", r"shape \(1,\) for 3 answers"), ("endless", "answer 1"), ("wordy", "numbers")],
)
def test_what_it_returns_is_checked(name: str, problem: str) -> None:
    with pytest.raises(DataError, match=f"reward_functions:{name}.*{problem}"):
        CallableScorer(f"reward_functions:{name}").score(ASKED, TEXTS)


@pytest.mark.parametrize("name", ["reward_functions", "reward_functions:absent", "no_module:f"])
def test_wrong_names(name: str) -> None:
    with pytest.raises(ConfigError, match="function="):
        CallableScorer(name)
