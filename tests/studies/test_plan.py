"""A plan is right if what it asks for has the power that it promises."""

import numpy as np
import pytest
from scipy.stats import t

from farm.errors import DataError
from farm.evaluation.variance import Components, planned_standard_error
from farm.protocols import FloatArray
from farm.seeds import generator
from farm.studies.plan import Bill, differences, instructions_needed, plan_table

LEVELS = {"seed": 3.0, "instruction": 50.0, "residual": 150.0}
COMPONENTS = Components({"seed": 1.0, "instruction": 200.0, "residual": 900.0}, LEVELS)
BILL = Bill(labels_per_seed=500, usd_per_label=0.01, usd_per_verdict=0.02, policies=4)


@pytest.mark.parametrize("seeds", [5, 10, 40])
def test_instructions_are_the_fewest_that_are_enough(seeds: int) -> None:
    needed = int(instructions_needed(COMPONENTS, 5.0, seeds, 0.05))
    allowed = 5.0 / (t.ppf(0.975, seeds - 1) + t.ppf(0.8, seeds - 1))
    assert planned_standard_error(COMPONENTS, seeds, needed) <= allowed
    assert planned_standard_error(COMPONENTS, seeds, needed - 1) > allowed


def test_no_instructions_help_against_the_variance_of_seeds() -> None:
    assert np.isnan(instructions_needed(COMPONENTS, 1.0, 3, 0.05))


def test_what_is_asked_for_finds_the_difference_in_four_of_five_studies() -> None:
    seeds, difference = 5, 6.0
    n = int(instructions_needed(COMPONENTS, difference, seeds, 0.05))
    rng = generator(0, "power")
    of = {name: np.sqrt(variance) for name, variance in COMPONENTS.variances.items()}
    # With instructions averaged out over n, every seed's mean has these deviations.
    seed_R_S = rng.normal(size=(4000, seeds)) * np.sqrt(of["seed"] ** 2 + of["residual"] ** 2 / n)
    instruction_R = rng.normal(size=4000) * of["instruction"] / np.sqrt(n)
    mean_R = difference + seed_R_S.mean(axis=1) + instruction_R
    error = planned_standard_error(COMPONENTS, seeds, n)
    found = np.mean(np.abs(mean_R) > t.ppf(0.975, seeds - 1) * error)
    assert found > 0.78


def made_up(policies: int, seeds: int, instructions: int) -> dict[str, FloatArray]:
    """Every policy's own effects have variances 0.0002 of seeds, 0.01 of instructions and 0.04."""
    rng = generator(1, "pilot")
    return {
        f"policy {p}": 0.5
        + np.sqrt(0.0002) * rng.normal(size=(seeds, 1))
        + 0.1 * rng.normal(size=(1, instructions))
        + 0.2 * rng.normal(size=(seeds, instructions))
        for p in range(policies)
    }


def test_a_pilot_of_two_seeds_shows_the_mean_variances_of_differences() -> None:
    found = differences(made_up(60, 2, 200))
    truth = {"seed": 4.0, "instruction": 200.0, "residual": 800.0}  # twice as large, in points
    for name, tolerance in (("seed", 0.5), ("instruction", 0.1), ("residual", 0.05)):
        assert found.variances[name] == pytest.approx(truth[name], rel=tolerance)
    assert found.levels["seed"] == pytest.approx(2)


def test_one_seed_is_no_pilot() -> None:
    with pytest.raises(DataError, match="two seeds"):
        differences(made_up(3, 1, 20))


def test_table_has_all_claims_and_adds_up_the_bill() -> None:
    table = plan_table(COMPONENTS, BILL, [5.0, 10.0])
    assert set(table["claims"]) == {1, 6}
    assert set(table["difference"]) == {5.0, 10.0}
    row = table[(table["seeds"] == 10) & (table["claims"] == 1)].iloc[0]
    assert row["labels"] == 5000
    assert row["usd"] == pytest.approx(5000 * 0.01 + 10 * row["instructions"] * 4 * 0.02)
    unpriced = plan_table(COMPONENTS, BILL._replace(usd_per_label=None), [5.0])
    assert unpriced["usd"].isna().all()
    assert unpriced["labels"].notna().all()


def test_more_claims_need_more_instructions() -> None:
    table = plan_table(COMPONENTS, BILL, [10.0]).pivot(index="seeds", columns="claims")
    both = table["instructions"].dropna()
    assert len(both) > 2
    assert (both[6] > both[1]).all()
