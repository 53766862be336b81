"""Length control on real verdicts against published figures and those of alpaca_eval 0.6.6, which
`make bench-peers && python tests/benchmarks/bench_length_control.py` gets again."""

import os
from pathlib import Path

import pandas as pd
import pytest

from farm.evaluation import LengthControlled, length_controlled_win_rate
from farm.evaluation.difficulty import (
    difficulty_given_weights,
    estimate_difficulty,
    leave_one_out_difficulty,
)
from farm.evaluation.length_control import LengthWeights, predict_win_rate

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("FARM_SHARED_DATA", ROOT.parent / "shared" / "data")) / "alpaca_eval2"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"{DATA} is not there (FARM_SHARED_DATA names its folder)"
)

NOREG = {
    "FuseChat-Gemma-2-9B-Instruct": 69.9481,
    "FuseChat-Qwen-2.5-7B-Instruct": 63.5558,
    "alpaca-7b": 7.1746,
    "alpaca-7b_concise": 6.2734,
    "alpaca-7b_verbose": 5.0099,
    "alpaca-farm-ppo-human": 6.3342,
    "alpaca-farm-ppo-sim-gpt4-20k": 7.2729,
    "baize-v2-13b": 5.9228,
    "claude-2.1": 27.3277,
    "claude-2": 30.2442,
    "claude-instant-1.2": 26.5063,
    "gemma-2b-it": 5.1859,
    "gemma-7b-it": 9.8254,
    "gpt-3.5-turbo-0301": 18.0162,
    "humpback-llama2-70b": 17.4791,
    "jina-chat": 18.9163,
    "minichat-3b": 6.1069,
    "minotaur-13b": 9.2524,
    "nous-hermes-13b": 9.2356,
    "oasst-sft-llama-33b": 10.1807,
    "oasst-sft-pythia-12b": 3.2310,
    "openbuddy-falcon-40b-v9": 8.8259,
    "openbuddy-llama2-13b-v11.1": 8.9985,
    "openbuddy-llama2-70b-v10.1": 11.0494,
    "phi-2": 3.4577,
    "pythia-12b-mix-sft": 3.6025,
    "vicuna-7b-v1.5": 7.0794,
}
"""length_controlled_noreg of alpaca_eval 0.6.6 and scikit-learn 1.9.1, on the same difficulties."""


@pytest.fixture(scope="module")
def annotations() -> pd.DataFrame:
    rows = pd.read_parquet(DATA / "annotations.parquet")
    return rows.assign(preference=rows["preference"].replace({0.0: 1.5}) - 1)


@pytest.fixture(scope="module")
def gamma() -> "pd.Series[float]":
    return pd.read_csv(DATA / "difficulty_estimate.csv", index_col=0)["difficulty"]


@pytest.fixture(scope="module")
def published() -> "pd.Series[float]":
    board = pd.read_csv(DATA / "leaderboard.csv", index_col=0)
    return board["length_controlled_winrate"]


def test_the_exact_procedure_is_alpaca_evals(
    annotations: pd.DataFrame, gamma: "pd.Series[float]", published: "pd.Series[float]"
) -> None:
    found = {
        model: length_controlled_win_rate(rows, difficulty=gamma, method="alpaca_eval").value
        for model, rows in annotations.groupby("model")
    }
    assert found == pytest.approx(NOREG, abs=0.001)
    assert (pd.Series(found) - published).abs().mean() < 1.3


def test_newton_is_near_and_its_interval_holds_the_published_rate(
    annotations: pd.DataFrame, gamma: "pd.Series[float]", published: "pd.Series[float]"
) -> None:
    found = pd.DataFrame(
        {
            model: length_controlled_win_rate(rows, difficulty=gamma)
            for model, rows in annotations.groupby("model")
        },
        index=LengthControlled._fields,
    ).T
    assert found["converged"].all() and found["identified"].all()
    apart = (found["value"] - pd.Series(NOREG)).abs()
    # What is left is AlpacaEval's L1 penalty, strongest for phi-2.
    assert apart.mean() < 0.07 and apart.max() < 0.21 and apart.idxmax() == "phi-2"
    assert (found["value"] - published).abs().mean() < 1.3
    assert published[found.index].between(found["low"], found["high"]).all()


def test_published_weights_predict_the_published_rates(
    gamma: "pd.Series[float]", published: "pd.Series[float]"
) -> None:
    weights = pd.read_csv(DATA / "glm_weights.csv", index_col=0)
    predicted = pd.Series(
        {model: predict_win_rate(LengthWeights(*row), difficulty=gamma)
         for model, row in weights.iterrows()}
    )  # fmt: skip
    assert (predicted - published).abs().mean() == pytest.approx(0.74, abs=0.02)


def test_difficulty_is_found_again_from_these_models(
    annotations: pd.DataFrame, gamma: "pd.Series[float]", published: "pd.Series[float]"
) -> None:
    joint = estimate_difficulty(annotations)
    given = difficulty_given_weights(
        annotations, pd.read_csv(DATA / "glm_weights.csv", index_col=0)
    )
    # Theirs is from 57 models, these 27 among them.
    assert joint.converged
    assert joint.difficulty.corr(gamma) > 0.94 and given.corr(gamma) > 0.94
    others = leave_one_out_difficulty(annotations)
    found = pd.Series(
        {model: length_controlled_win_rate(rows, difficulty=others[model]).value
         for model, rows in annotations.groupby("model")}
    )  # fmt: skip
    assert (found - published).abs().mean() < 1.3
