"""What a policy has cost adds up from its artefacts, with what it asked for as it learned."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from farm.artifacts import MANIFEST, Artifact, Store
from farm.builder import Finder
from farm.config import compose, plain
from farm.data.records import make_pair, user_instruction, write_instructions, write_pairs
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.spending import Spending

LABELS = {"labels": 100, "cost_usd": 0.5}


class Made:
    """Artefacts of a pipeline that nobody ran."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.of: dict[str, Artifact] = {}

    def artifact(self, name: str, results: Mapping[str, Any], **manifest: Any) -> Path:
        path = self._folder / name
        path.mkdir()
        found = {"config": {}, "results": results, **manifest}
        (path / MANIFEST).write_text(json.dumps(found))
        self.of[name] = Artifact(name, name, path)
        return path

    def policy(
        self, metrics: Sequence[Mapping[str, float]] = (), name: str = "policy", **config: Any
    ) -> None:
        path = self.artifact(name, {"flops": 7, "wall_s": 2.0}, config=config)
        lines = (json.dumps(line) + "\n" for line in metrics)
        (path / "metrics.jsonl").write_text("".join(lines))

    def judgments(self, **results: Any) -> None:
        path = self.artifact("judgments", {**LABELS, **results})
        asked = [user_instruction(text) for text in ("count", "count", "sort")]
        write_pairs(
            [make_pair(i, "a", str(n)) for n, i in enumerate(asked)], path / "pairs.parquet"
        )

    def spending(self) -> Spending:
        links = {name: made for name, made in self.of.items() if name.startswith("policy")}
        pipeline: Any = SimpleNamespace(
            **self.of,
            links=links,
            uses_judgments="judgments" in self.of,
            learns_reward="reward" in self.of,
        )
        return Spending(pipeline)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_labels_and_the_reward_model_count(made: Made) -> None:
    made.policy([{"step": 1, "loss": 1.0}])
    made.judgments()
    made.artifact("reward", {"flops": 30, "wall_s": 4.0})
    found = made.spending()
    assert (found.judgments(), found.judgments(1), found.cost_usd()) == (100, 100, 0.5)
    assert (found.flops, found.wall_s) == (37, 6.0)
    assert found.prompts == 2, "two instructions behind three pairs"


def test_who_uses_no_labels_has_none(made: Made) -> None:
    made.policy()
    found = made.spending()
    assert (found.judgments(), found.cost_usd(), found.prompts, found.flops) == (0, 0.0, 0, 7)


def test_judgments_that_a_learner_asks_for_count_step_by_step(made: Made) -> None:
    steps = [
        {"step": step, "judgments": 10 * step, "cost_usd": step / 4, "prompts": 5 * step}
        for step in (1, 2, 3)
    ]
    made.policy(steps)
    found = made.spending()
    assert [found.judgments(step) for step in (0, 1, 3, None)] == [0, 10, 30, 30]
    assert [found.cost_usd(step) for step in (0, 2, None)] == [0.0, 0.5, 0.75]
    assert found.prompts == 15


def test_on_top_of_labels(made: Made) -> None:
    made.policy([{"step": 2, "judgments": 8, "cost_usd": 1.0, "prompts": 8}])
    made.judgments()
    found = made.spending()
    assert (found.judgments(1), found.judgments(2), found.cost_usd(2)) == (100, 108, 1.5)
    assert found.prompts == 10


def test_all_links_of_a_chain_count(made: Made) -> None:
    first = {"step": 4, "judgments": 8, "cost_usd": 1.0, "prompts": 8}
    made.policy([first, {**first, "step": 5, "judgments": 9}], "policy 1")
    made.policy([{"step": 1, "judgments": 2, "cost_usd": 0.5, "prompts": 3}], "policy 2")
    found = made.spending()
    assert [found.judgments(step) for step in (0, 1, None)] == [9, 11, 11]
    assert (found.cost_usd(0), found.cost_usd()) == (1.0, 1.5)
    assert (found.prompts, found.flops, found.wall_s) == (11, 14, 4.0)


def test_an_unknown_price_stays_unknown(made: Made) -> None:
    made.policy([{"step": 1, "judgments": 8}])
    found = made.spending()
    assert (found.cost_usd(0), found.cost_usd(1)) == (0.0, None)
    made.judgments(cost_usd=None)
    assert made.spending().cost_usd(0) is None


def test_demonstrations_count_once_for_each_instruction(made: Made) -> None:
    made.policy(demonstrations="preference")
    path = made.artifact("instructions", {})
    rows = [user_instruction(text, demonstration=text) for text in ("hay", "hay", "oats")]
    write_instructions([*rows, user_instruction("pond")], path / "preference.parquet")
    assert made.spending().prompts == 2


def test_artefacts_from_before_the_count_are_not_taken_for_free_ones(made: Made) -> None:
    made.artifact("policy", {"checkpoints": {}})
    assert math.isnan(made.spending().flops)


@pytest.mark.parametrize(
    ("overrides", "uses_judgments", "learns_reward"),
    [
        (["method=sft"], False, False),
        (["method=dpo"], True, False),
        (["method=ppo"], True, True),
        (["method=ppo", "reward=callable", "reward.function=math:dist"], False, False),
        (["method=online_dpo"], False, False),
    ],
)
def test_a_pipeline_knows_what_its_method_learns_from(
    overrides: list[str], uses_judgments: bool, learns_reward: bool, tmp_path: Path
) -> None:
    config = plain(compose(overrides))
    pipeline = Pipeline(config, Settings.from_plain(config), Finder(Store(tmp_path)))
    assert (pipeline.uses_judgments, pipeline.learns_reward) == (uses_judgments, learns_reward)
