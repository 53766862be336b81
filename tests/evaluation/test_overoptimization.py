import numpy as np
import pandas as pd
import pytest

from farm.errors import DataError, FarmError
from farm.evaluation.overoptimization import overoptimization, peak_minus_end, turning_point
from farm.evaluation.selection import best_temperature, selected_step
from farm.protocols import FloatArray
from farm.seeds import generator

STEPS = range(0, 80, 10)
RISING = np.linspace(0, 1, 8)
TURNING = np.array([0, 0.4, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2])


def world(means: FloatArray, seed: int, n: int = 200) -> FloatArray:
    """Gold utility of every checkpoint on every instruction."""
    rng = generator(seed, "gold world")
    return means[:, None] + rng.normal(0, 0.8, n) + rng.normal(0, 0.6, (len(means), n))


def table(gold: FloatArray, proxy: FloatArray) -> pd.DataFrame:
    rows = [
        {"step": step, "instruction_id": str(i), "gold": gold[c, i], "proxy": proxy[c, i]}
        for c, step in enumerate(STEPS)
        for i in range(gold.shape[1])
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def turns(means: FloatArray) -> float:
    worlds = [peak_minus_end(world(means, seed), seed=seed) for seed in range(40)]
    return float(np.mean([found.low > 0 for found in worlds]))


def test_a_turn_is_found_and_none_is_invented() -> None:
    assert turns(TURNING) >= 0.9
    # A flat curve has a highest point too; choosing it must not count as a turn.
    assert turns(np.zeros(8)) <= 0.05
    assert turns(RISING) == 0


def test_peak_minus_end_is_unbiased_on_a_flat_curve() -> None:
    estimates = [peak_minus_end(world(np.zeros(8), s), seed=s).estimate for s in range(40)]
    naive = [np.ptp(world(np.zeros(8), s).mean(axis=1)) for s in range(40)]
    assert abs(np.mean(estimates)) < 0.02
    assert np.mean(naive) > 0.1


def test_the_place_of_the_peak_is_covered_in_the_unit_asked_for() -> None:
    position = np.linspace(0, 3.5, 8)
    concave = 0.3 * position * (3 - position)
    found = [turning_point(world(concave, s), position, seed=s) for s in range(100)]
    assert np.mean([turn.low <= 1.5 <= turn.high for turn in found]) >= 0.95
    assert np.mean([turn.high - turn.low for turn in found]) < 1.5
    assert set(np.array(found).ravel()) <= set(position)


def test_proxy_rises_while_gold_falls() -> None:
    gold = world(TURNING, 1)
    found = overoptimization(table(gold, world(3 * RISING, 2)), seed=0)
    assert found.turns_over
    assert found.peak_step in (20, 30)
    assert 10 <= found.peak.low <= found.peak_step <= found.peak.high <= 50
    assert found.gold_drop.estimate == pytest.approx(0.4, abs=0.12)
    assert found.proxy_rise.low < 3 < found.proxy_rise.high
    assert found.proxy_rise_after_peak.low > 0


def test_rows_that_gold_cannot_score_are_left_out_and_none_is_an_error() -> None:
    gold = world(TURNING, 1)
    proxy = np.full_like(gold, np.nan)
    some = np.where(np.arange(200) % 2, gold, np.nan)
    found = overoptimization(table(some, proxy), seed=0)
    assert found.gold_drop == peak_minus_end_of_scored(some)
    assert np.isnan(found.proxy_rise.estimate)
    with pytest.raises(DataError, match=r"data\.gold"):
        overoptimization(table(proxy, proxy), seed=0)


def peak_minus_end_of_scored(gold: FloatArray) -> object:
    # Instructions are in the order of their ids, which are texts.
    order = sorted(range(gold.shape[1]), key=str)
    scored = gold[:, order]
    return peak_minus_end(scored[:, ~np.isnan(scored[0])], seed=0)


def test_selection_takes_the_earliest_of_the_best_and_never_looks_at_gold() -> None:
    curve = pd.DataFrame(
        {
            "step": [40, 10, 30, 20],
            "win_rate": [71.0, 50.0, 71.0, np.nan],
            "gold_utility": [0.0, 9.0, 0.0, 9.0],
        }
    )
    assert selected_step(curve) == 30
    with pytest.raises(FarmError, match="no verdict"):
        selected_step(curve.assign(win_rate=np.nan))


def test_best_temperature_takes_the_lowest_of_the_best() -> None:
    assert best_temperature({1.0: 50.0, 0.3: 61.0, 0.7: 61.0, 0.0: 58.0}) == 0.3


def test_no_verdict_at_any_temperature_chooses_none() -> None:
    nothing = float("nan")
    assert best_temperature({1.0: nothing, 0.3: 40.0}) == 0.3
    with pytest.raises(FarmError, match=r"annotators\.clean gave no verdict"):
        best_temperature({1.0: nothing, 0.3: nothing})
