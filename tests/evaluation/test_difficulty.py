import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from farm.errors import DataError
from farm.evaluation import length_controlled_win_rate
from farm.evaluation.difficulty import (
    difficulty_given_weights,
    estimate_difficulty,
    leave_one_out_difficulty,
)
from farm.evaluation.glm import RIDGE, sigmoid
from farm.protocols import FloatArray
from farm.seeds import generator


def simulate(models: int, n: int) -> tuple[pd.DataFrame, FloatArray, pd.DataFrame]:
    """Hard verdicts on many models, the true difficulties and weights."""
    rng = generator(0, "difficulty", models, n)
    gamma = rng.normal(0, 1.5, n)
    names = [f"m{number}" for number in range(models)]
    weights = pd.DataFrame(
        {"length": -1.5, "difficulty": 1.0, "model": rng.normal(-0.5, 1, models)}, index=names
    )
    frames = []
    for name, (phi, psi, theta) in weights.iterrows():
        difference = rng.normal(-200, 600, n).round()
        bounded = np.tanh(difference / difference.std(ddof=1))
        p = sigmoid(theta + phi * bounded + psi * gamma)
        frames.append(
            pd.DataFrame(
                {
                    "model": name,
                    "instruction_id": [f"i{number}" for number in range(n)],
                    "length_baseline": 5000 + difference,
                    "length_model": 5000,
                    "preference": (rng.random(n) < p).astype(float),
                }
            )
        )
    return pd.concat(frames, ignore_index=True), gamma, weights


def test_joint_estimate_finds_what_a_general_optimiser_finds() -> None:
    frame, _, _ = simulate(3, 8)
    frame.loc[5, "preference"] = np.nan
    found = estimate_difficulty(frame)
    delta = frame["length_baseline"] - frame["length_model"]
    known = frame["preference"].notna()
    spread = delta[known].groupby(frame["model"]).transform("std").reindex(frame.index)
    bounded, y = np.tanh(delta / spread).to_numpy(), frame["preference"].to_numpy()
    model, instruction = frame["model"].factorize()[0], frame["instruction_id"].factorize()[0]

    def loss(w: FloatArray) -> float:
        p = sigmoid(w[3 + model] + w[model] * bounded + w[6 + instruction])
        likelihood = np.nansum(y * np.log(p) + (1 - y) * np.log(1 - p))
        return float(-likelihood + RIDGE / 2 * w @ w)

    best = minimize(loss, np.zeros(14), tol=1e-10).x
    assert found.converged
    assert found.weights["length"].to_numpy() == pytest.approx(best[:3], abs=1e-3)
    assert found.weights["model"].to_numpy() == pytest.approx(best[3:6], abs=1e-3)
    assert found.difficulty.to_numpy() == pytest.approx(best[6:], abs=1e-3)


def test_difficulty_is_recovered_from_many_models() -> None:
    frame, gamma, weights = simulate(60, 200)
    found = estimate_difficulty(frame)
    assert np.corrcoef(found.difficulty, gamma)[0, 1] > 0.95
    given = difficulty_given_weights(frame, weights)
    assert np.corrcoef(given, gamma)[0, 1] > 0.95
    assert abs(given.to_numpy() - gamma).mean() < 0.4


def test_left_out_difficulty_does_not_know_the_models_own_luck() -> None:
    frame, _, _ = simulate(6, 400)
    coin = (generator(0, "coin").random(400) < 0.5).astype(float)
    frame.loc[frame["model"] == "m0", "preference"] = coin
    rows = frame[frame["model"] == "m0"]
    own = length_controlled_win_rate(rows, difficulty=estimate_difficulty(frame).difficulty)
    left_out = leave_one_out_difficulty(frame)
    fair = length_controlled_win_rate(rows, difficulty=left_out["m0"])
    # The coin does not depend on the instruction, yet the joint estimate says so.
    assert own.weights.difficulty > 0.4
    assert abs(fair.weights.difficulty) < 0.1
    changed = frame.assign(preference=frame["preference"].where(frame["model"] != "m0", 1.0))
    again = leave_one_out_difficulty(changed)
    pd.testing.assert_series_equal(again["m0"], left_out["m0"])


def test_errors_name_the_model() -> None:
    frame, _, weights = simulate(3, 8)
    with pytest.raises(DataError, match=r"no weights for .*m2"):
        difficulty_given_weights(frame, weights[:2])
    with pytest.raises(DataError, match="at least two"):
        leave_one_out_difficulty(frame[frame["model"] == "m1"])
    with pytest.raises(DataError, match="'m0' has several verdicts"):
        estimate_difficulty(pd.concat([frame, frame[:1]]))
    with pytest.raises(DataError, match="lack the column model"):
        estimate_difficulty(frame.drop(columns="model"))
