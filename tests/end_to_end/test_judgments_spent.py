"""A run's figures say what its judgments and its computing were."""

import json

from .conftest import Finished, Run

ONLINE = (
    "method=online_dpo",
    "method.judgments=64",
    "method.episodes_per_step=32",
    "method.minibatch_size=16",
    "method.checkpoint_every=2",
)
"""Four steps of sixteen comparisons."""


def test_the_curve_of_a_learner_that_asks_is_one_against_judgments(
    smoke: Finished, run_here: Run
) -> None:
    online = run_here(smoke.path.parent, *ONLINE)
    curve = online.table("curve").set_index("step")
    lines = (online.path / "metrics.jsonl").read_text().splitlines()
    logged = {
        row["step"]: row["judgments"]
        for row in map(json.loads, lines)
        if row["stage"] == "onlinedpo"
    }
    assert curve["judgments_used"].to_dict() == {0: 0, 2: logged[2], 4: logged[4]}
    assert 0 < logged[2] < logged[4] <= 64
    assert online.info["labels"] == logged[4]
    assert (curve["cost_usd"] == 0).all()


def test_labels_that_were_there_count_from_the_first_step(smoke: Finished) -> None:
    assert smoke.info["labels"] == 128
    assert (smoke.table("curve")["judgments_used"] == 128).all()


def test_all_training_counts_its_operations(smoke: Finished) -> None:
    store = smoke.path.parent / "store"
    trained = {
        stage["label"]: store / stage["stage"] / stage["key"] / "manifest.json"
        for stage in smoke.info["stages"]
        if stage["stage"] in ("policy", "reward")
    }
    assert set(trained) == {"sft", "reward", "ppo"}
    for path in trained.values():
        results = json.loads(path.read_text())["results"]
        assert results["flops"] > 1e6 and results["wall_s"] > 0
