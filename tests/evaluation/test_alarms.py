import numpy as np
import pandas as pd
import pytest

from farm.errors import DataError
from farm.evaluation.alarms import (
    Rule,
    divergence_alarm,
    early_stop_regret,
    ensemble_spread,
    length_alarm,
    never,
    regret_table,
    spread_alarm,
)
from farm.evaluation.selection import selected_step
from farm.protocols import FloatArray
from farm.seeds import generator

STEPS = np.arange(0, 130, 10)
RULES: dict[str, Rule] = {
    "spread": spread_alarm,
    "divergence": divergence_alarm,
    "never": never,
    "win rate": selected_step,
}


def curve(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"step": [0, 10, 20, 30, 40], **columns}).sample(frac=1, random_state=1)


def sigmoid(x: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-x))


def optimised(seed: int, *, bend: float) -> pd.DataFrame:
    """Answers are features that drift along what a linear reward model likes. Gold and the
    held-out evaluators like much the same, less `bend` times how odd an answer is; the pool that
    selects does not mind."""
    rng = generator(seed, "optimised world")
    size = 12
    wanted = rng.normal(size=size) / np.sqrt(size)
    models = wanted + rng.normal(0, 0.8 / np.sqrt(size), (4, size))
    held_out = wanted + rng.normal(0, 0.3 / np.sqrt(size), size)
    drift = np.linspace(0, 6, len(STEPS))[:, None, None] * models[0] / np.linalg.norm(models[0])
    answers = rng.normal(size=(len(STEPS), 300, size)) + drift
    reference = rng.normal(size=(300, size))
    odd, odd_reference = ((x**2).sum(axis=-1) / 2 for x in (answers, reference))
    scores = np.einsum("mk,cnk->mcn", models, answers)
    judged = (answers - reference) @ held_out - bend * (odd - odd_reference)
    return pd.DataFrame(
        {
            "step": STEPS,
            "proxy_reward": scores[0].mean(axis=1),
            "win_rate": 100 * sigmoid((answers - reference) @ models.mean(axis=0)).mean(axis=1),
            "held_out_win_rate": 100 * sigmoid(2 * judged).mean(axis=1),
            "gold_utility": (answers @ wanted - bend * odd).mean(axis=1),
            "ensemble_spread": ensemble_spread(scores),
        }
    )


def test_divergence_needs_a_fall_below_the_highest_and_a_proxy_that_rose() -> None:
    held_out = [50.0, 60.0, 58.0, 56.5, 70.0]
    rising = curve(held_out_win_rate=held_out, proxy_reward=[0.0, 1.0, 2.0, 3.0, 4.0])
    falling = curve(held_out_win_rate=held_out, proxy_reward=[0.0, 1.0, 0.5, 0.4, 0.3])
    assert divergence_alarm(rising) == 30
    assert divergence_alarm(rising, fall=1) == 20
    assert divergence_alarm(rising, fall=4) is None
    assert divergence_alarm(falling) is None
    unjudged = curve(held_out_win_rate=[np.nan, *held_out[1:]], proxy_reward=[0, 1, 2, 3, 4])
    assert divergence_alarm(unjudged) == 30


def test_length_drift_is_seen_both_ways() -> None:
    assert length_alarm(curve(mean_length=[100, 120, 149, 151, 100])) == 30
    assert length_alarm(curve(mean_length=[100, 90, 67, 66, 100])) == 30
    assert length_alarm(curve(mean_length=[100, 90, 67, 68, 110])) is None
    with pytest.raises(DataError, match="mean_length"):
        length_alarm(curve(mean_length=np.nan))


def test_ensemble_spread_has_its_closed_form_and_no_units() -> None:
    rng = generator(0, "ensemble")
    common, own = rng.normal(size=(3, 20_000)), rng.normal(size=(5, 3, 20_000))
    # Each model is the common score plus an error that doubles, then triples.
    scores = common + own * np.array([1, 2, 3])[:, None]
    spread = ensemble_spread(scores)
    np.testing.assert_allclose(spread, [1, 2, 3], rtol=0.02)
    units = np.array([1, 10, 0.1, 5, 2])[:, None, None]
    np.testing.assert_allclose(ensemble_spread(units * scores + units), spread)
    assert spread_alarm(curve(ensemble_spread=[1, 1.2, 1.6, 2, 3])) == 20


def test_regret_is_what_the_best_checkpoint_has_more() -> None:
    gold = curve(gold_utility=[1.0, 2.0, 4.0, 3.5, 2.5])
    assert early_stop_regret(gold, 20) == 0
    assert early_stop_regret(gold, 10) == 2
    assert early_stop_regret(gold, None) == 1.5
    with pytest.raises(DataError, match=r"data\.gold"):
        early_stop_regret(curve(gold_utility=[1.0, np.nan, 4.0, 3.5, 2.5]), 20)


def test_the_table_counts_stops_before_and_beyond_the_peak() -> None:
    gold = curve(gold_utility=[1.0, 2.0, 4.0, 3.5, 2.5])
    fixed: dict[str, Rule] = {"early": lambda _: 10, "best": lambda _: 20, "never": never}
    table = regret_table([gold, gold], fixed, seed=0).set_index("rule")
    assert table["regret"].tolist() == [2, 0, 1.5]
    assert table["stopped"].tolist() == [100, 100, 0]
    assert table["too_early"].tolist() == [100, 0, 0]
    assert table["too_late"].tolist() == [0, 0, 100]


def test_alarms_pay_where_gold_turns_and_divergence_is_free_where_it_does_not() -> None:
    turning = [optimised(seed, bend=0.3) for seed in range(30)]
    straight = [optimised(seed, bend=0.0) for seed in range(30)]
    paid, lost = (
        regret_table(curves, RULES, seed=0).set_index("rule") for curves in (turning, straight)
    )
    for alarm in ("spread", "divergence"):
        assert paid.loc[alarm, "regret_high"] < 0.5 * paid.loc["never", "regret_low"]
    # A judge that shares the proxy's blind spot selects the end of training.
    assert paid.loc["win rate", "regret"] == pytest.approx(paid.loc["never", "regret"], rel=0.02)
    assert lost.loc["divergence", "regret"] == pytest.approx(lost.loc["never", "regret"])
    assert lost.loc["spread", "regret_low"] > 0
