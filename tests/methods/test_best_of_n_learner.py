"""Best-of-n trains nothing: its checkpoints are pointers to the start and a scorer."""

import json
from pathlib import Path

import pytest

from farm.context import Context
from farm.errors import ConfigError
from farm.scorers.stored import StoredScorer
from farm.training.tuning import Full
from farm.types import Decoding, Inputs, PolicyRef
from methods.best_of_n import BestOfN


def test_checkpoints_are_the_powers_of_two_and_n(tmp_path: Path) -> None:
    found: dict[int, dict[str, object]] = {}

    def keep(step: int, save: object) -> None:
        folder = tmp_path / str(step)
        folder.mkdir()
        save(folder)  # type: ignore[operator]
        found[step] = json.loads((folder / "policy.json").read_text())

    context = Context(seed=0, work=tmp_path, tuning=Full(), on_checkpoint=keep)
    start = PolicyRef("hub/name", Decoding(0.3, 8))
    reward = StoredScorer(str(tmp_path / "reward"))
    learned = BestOfN(n=12, temperature=0.9).fit(start, Inputs(reward=reward), context)
    assert list(found) == [2, 4, 8, 12]
    assert found[8]["path"] == "hub/name"
    assert found[8]["best_of"] == {"n": 8, "temperature": 0.9, "scorer": "../reward"}
    assert learned.best_of is not None and learned.best_of.n == 12
    assert learned.path == start.path


@pytest.mark.parametrize("key", [{"n": 1}, {"temperature": -0.1}])
def test_senseless_values_are_refused(key: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(key))):
        BestOfN(**key)  # type: ignore[arg-type]
