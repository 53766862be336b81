"""A draft is the start, shallower, and comes nearer to it by learning what it has learned from."""

from pathlib import Path

import pytest
import toy_policy as toy

from farm.errors import ConfigError
from farm.models.load import load_draft, load_policy, load_tokenizer
from farm.types import Inputs
from methods.draft import Draft


def test_it_is_shallower_and_learns(tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "start")
    demonstrations = toy.instructions(400)
    learner = Draft(**toy.LIMITS, layers=1, epochs=None, max_steps=40, learning_rate=1e-2)
    draft = learner.fit(
        start, Inputs(demonstrations=demonstrations), toy.context(tmp_path / "work")
    )
    model = load_draft(draft.path, load_tokenizer(start.path), "cpu")
    assert model.config.num_hidden_layers == 1
    assert load_policy(start.path, "cpu").config.num_hidden_layers == 2
    losses = [line["loss"] for line in toy.metrics(tmp_path / "work")]
    assert losses[-1] < 0.6 * losses[0]


def test_deeper_than_the_start_is_a_mistake(tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "start")
    with pytest.raises(ConfigError, match="layers=3: the model itself has only 2"):
        Draft(**toy.LIMITS, layers=3).fit(
            start, Inputs(demonstrations=toy.instructions(8)), toy.context(tmp_path / "work")
        )
