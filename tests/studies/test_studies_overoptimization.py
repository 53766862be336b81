"""Over-optimisation of made-up learners whose gold is known."""

import numpy as np
import pandas as pd
import pytest
from fake_studies import PEOPLE, POOL, SINGLE, STEPS, measured, study, study_tables_once

from farm.studies.measure import Measured
from farm.studies.overoptimization import (
    PROXY,
    TO_THE_END,
    UTILITY,
    alarm_table,
    best_of_n_curves,
    laws,
    policy_curves,
)
from farm.studies.tables import Tables


@pytest.fixture(scope="module")
def rows() -> Measured:
    return measured(study())


@pytest.fixture
def tables() -> Tables:
    return study_tables_once()


def test_curves_are_means_of_each_step(rows: Measured, tables: Tables) -> None:
    curve = tables["curves"].set_index(["annotators", "seed", "step"])
    assert len(curve) == 3 * 3 * len(STEPS)
    of = rows.checkpoints
    of = of[(of["annotators"] == SINGLE) & (of["seed"] == 2) & (of["step"] == STEPS[2])]
    found = curve.loc[SINGLE, 2, STEPS[2]]
    assert found["kl_to_start"] == pytest.approx(of["kl"].mean())
    assert found["proxy_reward"] == pytest.approx(of["proxy"].mean())
    assert found["by single"] == pytest.approx(100 * of["by single"].mean())
    assert found["by gold"] == pytest.approx(100 * (of["gold"] > 0).mean())


def test_reward_models_spread_is_relative_to_the_start_and_needs_two(tables: Tables) -> None:
    starts = tables["curves"][tables["curves"]["step"] == 0]
    np.testing.assert_allclose(starts["ensemble_spread"], 1.0)
    one = policy_curves(measured(study(seeds=(1,)), instructions=5).checkpoints)
    assert one["ensemble_spread"].isna().all()


def test_gold_turns_over_where_it_falls(tables: Tables) -> None:
    turns = tables["turning_points"].set_index("annotators")
    assert turns.loc[POOL, "turns_over"].tolist() == [True] * 3
    np.testing.assert_allclose(turns.loc[POOL, "gold_drop"].astype(float), 1.0)
    assert turns.loc[POOL, "peak_step"].tolist() == [STEPS[-1] / 2] * 3
    assert not turns.loc[[SINGLE, PEOPLE], "turns_over"].any()


def test_the_proxys_gain_is_golds_and_two_errors(tables: Tables) -> None:
    failures = tables["failures"]
    start = failures[failures["step"] == 0].set_index(["annotators", "seed"])
    end = failures[failures["step"] == STEPS[-1]].set_index(["annotators", "seed"])
    proxy, gold = (end[f"{j}_win_rate"] - start[f"{j}_win_rate"] for j in ("proxy", "gold"))
    errors = end["reward_model_error"] + end["annotator_bias"]
    np.testing.assert_allclose(proxy, gold + errors)
    own = end.loc[SINGLE, "pool_win_rate"] - end.loc[SINGLE, "gold_win_rate"]
    assert (own < -50).all(), "the single judge's own verdict is the opposite of gold"


def test_best_of_one_is_the_mean_and_best_of_all_the_proxys_choice(rows: Measured) -> None:
    curves = best_of_n_curves(rows.samples).set_index(["annotators", "seed", "n"])
    of = rows.samples[(rows.samples["annotators"] == POOL) & (rows.samples["seed"] == 1)]
    chosen = of.loc[of.groupby("instruction_id")["proxy"].idxmax()]
    samples = int(of["sample"].nunique())
    assert curves.index.unique("n").tolist() == [1, 2, samples]
    for n, answers in ((1, of), (samples, chosen)):
        row = curves.loc[POOL, 1, n]
        assert row["gold"] == pytest.approx(answers["gold"].mean())
        assert row["by people"] == pytest.approx(100 * answers["by people"].mean())
        assert row["by gold"] == pytest.approx(100 * (answers["gold"] > 0).mean())
    best = of.groupby("instruction_id")["gold"].max().mean()
    assert curves.loc[POOL, 1, samples]["gold_by_gold"] == pytest.approx(best)


def test_followed_has_both_learners_by_every_measure_over_seeds(tables: Tables) -> None:
    followed = tables["followed"]
    assert followed["learner"].unique().tolist() == ["ppo", "best-of-n"]
    judges = ["pool", "single", "people", "held out", "length 1", "gold"]
    assert followed["evaluator"].unique().tolist() == [PROXY, *judges, UTILITY]
    one = followed.set_index(["learner", "annotators", "evaluator", "point"])
    curves = tables["curves"]
    at = curves[(curves["annotators"] == PEOPLE) & (curves["step"] == STEPS[-1])]
    row = one.loc["ppo", PEOPLE, "single", STEPS[-1]]
    assert row["value"] == pytest.approx(at["by single"].mean())
    assert row["sqrt_kl"] == pytest.approx(np.sqrt(at["kl_to_start"]).mean())
    best = tables["best_of_n"]
    at = best[(best["annotators"] == POOL) & (best["n"] == 4)]
    assert one.loc["best-of-n", POOL, UTILITY, 4]["value"] == pytest.approx(at["gold"].mean())


def lawful(kl: list[float]) -> pd.DataFrame:
    """Checkpoints whose gold follows d (1.5 - 0.5 log d)."""
    frames = []
    for step, d in enumerate(np.sqrt(kl)):
        gold = d * (1.5 - 0.5 * np.log(d)) if d else 0.0
        ids = [f"i{n}" for n in range(6)]
        frame = pd.DataFrame({"instruction_id": ids, "gold": gold + np.arange(6), "kl": d**2})
        frames.append(frame.assign(step=step, annotators=POOL, seed=1))
    return pd.concat(frames)


def test_laws_come_back_from_lawful_curves() -> None:
    samples = measured(study(seeds=(1,)), instructions=5).samples
    found = laws(lawful([0.0, 0.5, 1.0, 4.0]), samples).set_index("law")
    row = found.loc["reinforcement learning"]
    assert row["alpha"] == pytest.approx(1.5)
    assert row["beta"] == pytest.approx(0.5)
    assert row["peak"] == pytest.approx(np.exp(2))
    assert len(found.loc[["best-of-n"]]) == 3, "one of each annotators"


def test_a_curve_of_one_point_has_no_law() -> None:
    samples = measured(study(seeds=(1,)), instructions=5).samples
    assert set(laws(lawful([0.0, 1.0]), samples)["law"]) == {"best-of-n"}


def test_alarms_are_held_against_training_to_the_end(tables: Tables) -> None:
    alarms = tables["alarms"].set_index(["annotators", "rule"])
    assert alarms.loc[POOL, TO_THE_END]["regret"] == pytest.approx(1.0)
    assert alarms.loc[PEOPLE, TO_THE_END]["regret"] == pytest.approx(0.0)
    assert alarms.loc[POOL, "held-out judges fall"]["regret"] < 1.0


def test_alarms_whose_measure_is_missing_are_left_out() -> None:
    curves = policy_curves(measured(study(seeds=(1,)), instructions=5).checkpoints)
    found = alarm_table(curves.drop(columns="by held out"), seed=0)
    assert set(found["rule"]) == {"length drifts", TO_THE_END}
