"""Length-controlled rates; the quoted figures of alpaca_eval 0.6.6 are from
tests/benchmarks/length_control_peer.py."""

import math

import numpy as np
import pandas as pd
import pytest
from length_judges import Judge, beta, coin, four_votes, truncation_attack
from scipy.optimize import minimize

from farm.errors import DataError
from farm.evaluation import length_controlled_win_rate
from farm.evaluation.glm import RIDGE, sigmoid
from farm.evaluation.length_control import (
    BASELINE,
    LengthWeights,
    length_controlled_values,
    predict_win_rate,
)
from farm.evaluation.mediators import Method
from farm.protocols import FloatArray
from farm.seeds import generator

METHODS: tuple[Method, ...] = ("newton", "alpaca_eval")
GOOD = Judge(theta=0.5, phi=-1.7, psi=0.8, longer_by=400, labels=coin)


def verdicts(preferences: FloatArray, model: FloatArray, baseline: FloatArray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "instruction_id": np.arange(len(preferences)),
            "length_baseline": baseline,
            "length_model": model,
            "preference": preferences,
        }
    )


def small() -> tuple[pd.DataFrame, "pd.Series[float]", pd.DataFrame]:
    """250 soft verdicts, difficulties, and a gamed baseline; lengths are whole."""
    rng = generator(0, "small")
    judge = Judge(theta=-1.0, phi=-1.7, psi=0.8, longer_by=300, labels=beta)
    frame, gamma = judge.draw(250, rng)
    _, gamed, _ = truncation_attack(250, rng)
    lengths = {"length_baseline": "int", "length_model": "int"}
    return frame.round({"preference": 4}).astype(lengths), gamma, gamed.astype(lengths)


@pytest.mark.parametrize("labels", [coin, four_votes, beta])
def test_recovers_quality_where_the_raw_rate_does_not(labels: object) -> None:
    judge = GOOD._replace(labels=labels)
    frame, gamma = judge.draw(20_000, generator(0, "recovers"))
    found = length_controlled_win_rate(frame, difficulty=gamma)
    assert 100 * frame["preference"].mean() - judge.truth() > 8
    assert abs(found.value - judge.truth()) < 3 * found.standard_error < 1.5
    assert found.weights.length_scale == pytest.approx(600, rel=0.02)
    fitted = (found.weights.length, found.weights.difficulty, found.weights.model)
    assert fitted == pytest.approx((-1.7, 0.8, 0.5), abs=0.12)


@pytest.mark.parametrize("psi", [0.0, 0.8])
def test_error_is_near_the_cramer_rao_bound_and_intervals_cover(psi: float) -> None:
    judge, repetitions = GOOD._replace(psi=psi), 400
    truth, errors, covered = judge.truth(), [], 0
    for number in range(repetitions):
        frame, gamma = judge.draw(400, generator(0, "coverage", str(psi), number))
        found = length_controlled_win_rate(frame, difficulty=gamma if psi else None)
        errors.append(found.value - truth)
        covered += found.low <= truth <= found.high
    bound = judge.bound(400, 1, generator(0, "bound"))
    # The RMSE of 400 repetitions is itself known to 3.5 %; coverage to 1.1 points.
    assert np.sqrt(np.mean(np.square(errors))) < 1.1 * bound
    assert 0.92 < covered / repetitions < 0.98


def test_an_a_a_comparison_is_rejected_in_one_of_twenty() -> None:
    judge = Judge(theta=0.0, phi=-1.7, psi=0.0, longer_by=0.0, labels=coin)
    rejected = 0
    for number in range(1000):
        found = length_controlled_win_rate(judge.draw(300, generator(1, "A/A", number))[0])
        rejected += not found.low <= 50 <= found.high
    assert 0.035 < rejected / 1000 < 0.065


@pytest.mark.parametrize("method", METHODS)
def test_swapping_the_sides_gives_the_complement(method: Method) -> None:
    frame, gamma, _ = small()
    one = length_controlled_win_rate(frame, difficulty=gamma, method=method)
    swapped = verdicts(1 - frame["preference"], frame["length_baseline"], frame["length_model"])
    other = length_controlled_win_rate(swapped, difficulty=gamma, method=method)
    assert one.value + other.value == pytest.approx(100, abs=1e-9)
    assert one.low + other.high == pytest.approx(100, abs=1e-9)
    itself = length_controlled_win_rate(
        frame.assign(preference=0.5, length_model=frame["length_baseline"]), method=method
    )
    assert itself.value == 50


def test_newton_finds_what_a_general_optimiser_finds() -> None:
    frame, gamma, gamed = small()
    found = length_controlled_win_rate(frame, difficulty=gamma, gamed=gamed)
    blocks, targets, row_weights = [], [], []
    for name, rows in [*gamed.groupby("model"), ("m", frame)]:
        delta = rows["length_baseline"] - rows["length_model"]
        own = float(name == "m")
        columns = [np.tanh(delta / delta.std()), gamma.loc[rows["instruction_id"]]]
        blocks.append(np.column_stack([*columns, np.full(len(rows), own)]))
        targets.append(rows["preference"])
        row_weights.append(np.full(len(rows), 1.0 if own else 0.1))
    design, y, v = np.concatenate(blocks), np.concatenate(targets), np.concatenate(row_weights)

    def loss(w: FloatArray) -> float:
        p = 1 / (1 + np.exp(-design @ w))
        return float(-v @ (y * np.log(p) + (1 - y) * np.log(1 - p)) + RIDGE / 2 * w @ w)

    best = minimize(loss, np.zeros(3), tol=1e-10).x
    assert tuple(found.weights[:3]) == pytest.approx(best, abs=1e-4)
    assert found.value == pytest.approx(100 * np.mean(sigmoid(best[2] + best[1] * gamma)), abs=1e-3)


@pytest.mark.parametrize(
    ("parts", "value", "published_error", "weights"),
    [
        (0, 32.53510519000547, 0.0, (-1.4211367620, 0.0, -0.7292877196)),
        (1, 33.15867577994789, 1.541843155999765, (-1.9101421745, 0.7876840978, -1.0379031373)),
        (2, 34.65893307913127, 1.268271783671735, (-1.4603807666, 0.5629127672, -0.8170705832)),
    ],
    ids=["minimal", "noreg", "v1"],
)
def test_the_exact_procedure_gives_the_figures_of_alpaca_eval(
    parts: int, value: float, published_error: float, weights: tuple[float, ...]
) -> None:
    frame, gamma, gamed = small()
    names = ["difficulty", "gamed baseline"]
    optional = dict([("difficulty", gamma), ("gamed", gamed)][:parts])
    found = length_controlled_win_rate(frame, method="alpaca_eval", **optional)
    assert found.value == pytest.approx(value, abs=1e-6)
    assert found.published_standard_error == pytest.approx(published_error, abs=1e-6)
    assert found.weights[:3] == pytest.approx(weights, abs=1e-6)
    assert found.variant == f"{' + '.join(['length', *names[:parts]])}, alpaca_eval"


def test_standard_error_without_predictors_is_that_of_the_raw_rate() -> None:
    frame, _, _ = small()
    equal = frame.assign(length_model=frame["length_baseline"])
    found = length_controlled_win_rate(equal)
    assert found.value == pytest.approx(100 * frame["preference"].mean(), abs=0.01)
    assert found.standard_error == pytest.approx(100 * frame["preference"].sem(), rel=1e-3)
    assert found.weights.length == found.weights.length_scale == 0


def test_several_verdicts_on_an_instruction_are_one_draw() -> None:
    frame, gamma, _ = small()
    once = length_controlled_win_rate(frame, difficulty=gamma)
    thrice = length_controlled_win_rate(pd.concat([frame] * 3), difficulty=gamma)
    assert thrice.standard_error == pytest.approx(once.standard_error, rel=0.01)


def test_standard_error_agrees_with_the_bootstrap() -> None:
    frame, gamma, _ = small()
    found = length_controlled_win_rate(frame, difficulty=gamma)
    rng = generator(0, "bootstrap")
    values = [
        length_controlled_win_rate(frame.iloc[rng.integers(250, size=250)], difficulty=gamma).value
        for _ in range(400)
    ]
    assert found.standard_error == pytest.approx(np.std(values), rel=0.12)


def test_rows_without_a_verdict_are_left_out_and_counted() -> None:
    frame, gamma, _ = small()
    frame.loc[::2, "preference"] = np.nan
    found = length_controlled_win_rate(frame, difficulty=gamma)
    assert found == length_controlled_win_rate(frame[1::2], difficulty=gamma)._replace(
        n_missing=125
    )
    nothing = length_controlled_win_rate(frame[::2])
    assert math.isnan(nothing.value) and math.isnan(nothing.weights.model)
    assert (nothing.n, nothing.n_missing, nothing.converged) == (0, 125, False)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_equal_differences_leave_the_win_rate_as_it_is(n: int) -> None:
    preferences = np.array([1.0, 0.0, 1.0] * n)[:n]
    found = length_controlled_win_rate(verdicts(preferences, np.full(n, 30), np.full(n, 10)))
    # The penalty pulls a single win by 3 points, thirty verdicts by nothing to speak of.
    assert found.value == pytest.approx(100 * preferences.mean(), abs=4 if n < 30 else 0.05)
    # Quality cannot be told from a length that always differs the same way.
    assert found.converged and not found.identified and math.isnan(found.low)


def test_separable_verdicts_stay_finite_and_are_said() -> None:
    lengths, baseline = np.arange(40.0), np.full(40, 19.5)
    split = length_controlled_win_rate(
        verdicts((lengths > baseline).astype(float), lengths, baseline)
    )
    assert split.value == pytest.approx(50, abs=1e-6)
    assert -100 < split.weights.length < -5
    wins = length_controlled_win_rate(verdicts(np.ones(40), lengths, baseline))
    assert 99 < wins.value < 100
    for found in (split, wins):
        assert found.converged and not found.identified and math.isnan(found.standard_error)


def test_lengths_that_always_differ_a_lot_are_not_identified() -> None:
    frame, _, _ = small()
    rng = generator(0, "always longer")
    longer = frame.assign(length_model=frame["length_baseline"] + rng.normal(5000, 50, 250))
    assert not length_controlled_win_rate(longer).identified


def test_a_truncation_attack_gains_less_with_the_gamed_baseline() -> None:
    frame, gamed, truth = truncation_attack(3000, generator(0, "attack"))
    plain = length_controlled_win_rate(frame)
    tied = length_controlled_win_rate(frame, gamed=gamed)
    assert truth + 15 < plain.value
    assert truth < tied.value < plain.value - 5
    assert plain.weights.length < tied.weights.length < -1


def test_errors_say_what_is_missing() -> None:
    frame, gamma, _ = small()
    with pytest.raises(DataError, match=r"3 instructions have no difficulty.*\[247, 248, 249\]"):
        length_controlled_win_rate(frame, difficulty=gamma[:247])
    with pytest.raises(DataError, match=r"lacks \['length_model'\]"):
        length_controlled_win_rate(frame.drop(columns="length_model"))
    with pytest.raises(DataError, match="AlpacaEval's code of 1 to 2, minus 1"):
        length_controlled_win_rate(frame.assign(preference=frame["preference"] + 1))
    with pytest.raises(DataError, match="length_model"):
        length_controlled_win_rate(frame.assign(length_model=np.nan))
    with pytest.raises(DataError, match="at least 5 verdicts"):
        length_controlled_win_rate(frame[:4], method="alpaca_eval")
    with pytest.raises(DataError, match="more than once"):
        length_controlled_win_rate(frame, difficulty=pd.concat([gamma, gamma]))


def test_any_pair_is_predicted_from_weights() -> None:
    gamma = np.array([-1.0, 0.0, 2.0])
    one, other = LengthWeights(-1.5, 0.9, 0.3), LengthWeights(-2.0, 1.4, -0.8)
    assert predict_win_rate(one, one, gamma) == 50
    pair = predict_win_rate(one, other, gamma)
    assert pair + predict_win_rate(other, one, gamma) == pytest.approx(100, abs=1e-9)
    by_hand = [1 / (1 + math.exp(-(1.1 - 0.5 * g))) for g in gamma]
    assert pair == pytest.approx(100 * np.mean(by_hand))
    assert predict_win_rate(one) == predict_win_rate(one, BASELINE, np.zeros(1))


def test_prediction_from_fitted_weights_is_the_controlled_rate() -> None:
    frame, gamma, _ = small()
    found = length_controlled_win_rate(frame, difficulty=gamma)
    assert predict_win_rate(found.weights, difficulty=gamma) == pytest.approx(found.value)


def test_the_rate_is_a_mean_over_instructions_with_its_standard_error() -> None:
    frame = small()[0].iloc[:200]
    frame = frame.assign(preference=frame["preference"].where(frame["instruction_id"] != 3))
    found = length_controlled_win_rate(frame)
    values = length_controlled_values(frame)
    assert np.isnan(values).tolist() == (frame["instruction_id"] == 3).tolist()
    known = values[~np.isnan(values)]
    assert known.mean() == pytest.approx(found.value)
    error = known.std(ddof=2) / np.sqrt(len(known))
    assert error == pytest.approx(found.standard_error, rel=1e-6)
    assert np.isnan(length_controlled_values(frame.assign(preference=1.0))).all()
