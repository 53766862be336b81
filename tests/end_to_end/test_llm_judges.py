"""The main job with an LLM judge: the barnyard's pool behind a loopback endpoint that fails now
and then labels and judges as the same pool does in process."""

import json
from typing import Any

import pandas as pd
import pytest

from farm.config import compose, plain
from simulators.serve import SERVE
from simulators.serving.app import make_app
from simulators.serving.background import serving

from .conftest import Finished, Run

FAULTS = ("faults.rate_500=0.05", "faults.rate_429=0.05", "faults.retry_after_s=0")


@pytest.fixture(scope="module")
def judged(run_here: Run, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The smoke run with an LLM judge; its start policy and pairs are those of `smoke`."""
    with serving(make_app(plain(compose(FAULTS, SERVE)))) as base_url:
        return run_here(
            tmp_path_factory.mktemp("judged") / "runs",
            "method=ppo",
            "annotators=judge",
            "endpoints=open_weights",
            "endpoints.strong.model.model=clean",
            f"endpoints.strong.model.base_url={base_url}",
            "endpoints.strong.model.capabilities.seed=run",
        )


def _labels(run: Finished) -> tuple[pd.DataFrame, dict[str, Any]]:
    (stage,) = (s for s in run.info["stages"] if s["stage"] == "judgments")
    folder = run.path.parent / "store" / "judgments" / stage["key"]
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return pd.read_parquet(folder / "judgments-00000.parquet"), manifest["results"]


def test_labels_are_those_of_the_same_pool_in_process(judged: Finished, smoke: Finished) -> None:
    by_judge, results = _labels(judged)
    by_pool, _ = _labels(smoke)
    pd.testing.assert_series_equal(by_judge["preference"], by_pool["preference"])
    assert results["no_verdict"] == 0
    assert results["requests"] == (~by_judge["noised"] & by_judge["raw"].notna()).sum() > 0


def test_judgments_say_where_they_come_from(judged: Finished) -> None:
    labels, _ = _labels(judged)
    asked = labels[labels["raw"].notna()]
    assert set(asked["annotator"]) == {"judge"}
    assert set(asked["requested_model"]) == set(asked["model"]) == {"clean"}
    assert set(asked["raw"]) <= {"P", "Q"}
    assert set(asked["order"]) == {"ab", "ba"}
    assert asked["prompt_hash"].nunique() == 1
    assert judged.info["cost_usd"] == 0.0


def test_evaluations_keep_their_judgments(judged: Finished) -> None:
    keys = [s["key"] for s in judged.info["stages"] if s["stage"] == "evaluation"]
    for key in keys:
        folder = judged.path.parent / "store" / "evaluation" / key
        items = pd.read_parquet(folder / "items.parquet")
        judgments = pd.read_parquet(folder / "judgments clean.parquet")
        pd.testing.assert_series_equal(items["preference"], judgments["preference"])
        assert judgments["raw"].isin(["P", "Q"]).any() or (judgments["preference"] == 0.5).all()
