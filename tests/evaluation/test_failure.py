import numpy as np
import pandas as pd
import pytest

from farm.errors import DataError
from farm.evaluation.failure import best_of_n_failure, best_of_n_regret, policy_failure
from farm.protocols import FloatArray
from farm.seeds import generator

GAPS = ["reward_model_error", "annotator_bias"]


def items(proxy: FloatArray, pool: FloatArray, gold: FloatArray) -> pd.DataFrame:
    """Items of checkpoints [C, N] whose reference has score 0 with every judge."""
    checkpoints, n = gold.shape
    return pd.DataFrame(
        {
            "step": np.repeat(10 * np.arange(checkpoints), n),
            "instruction_id": np.tile(np.arange(n), checkpoints).astype(str),
            "proxy": proxy.ravel(),
            "proxy_reference": 0.0,
            "expectation": 1 / (1 + np.exp(-pool.ravel())),
            "gold": gold.ravel(),
            "gold_reference": 0.0,
            "kl": np.repeat(np.arange(checkpoints) ** 2, n),
        }
    ).sample(frac=1, random_state=0)


def samples(labels: int, seed: int = 0) -> pd.DataFrame:
    """32 answers to each of 200 instructions. Gold wants content and dislikes length, the pool
    likes length a little; the proxy is a reward model with an error that labels reduce."""
    rng = generator(seed, "samples of a start")
    content, length, spurious = rng.normal(size=(3, 200, 32))
    pool = content + 0.2 * length
    return pd.DataFrame(
        {
            "instruction_id": np.repeat(np.arange(200), 32),
            "sample": np.tile(np.arange(32), 200),
            "proxy": (pool + 10 / np.sqrt(labels) * spurious).ravel(),
            "proxy_reference": 0.0,
            "expectation": 1 / (1 + np.exp(-pool.ravel())),
            "gold": (content - 0.1 * length).ravel(),
            "gold_reference": 0.0,
        }
    )


def test_gains_split_without_remainder() -> None:
    worlds = generator(0, "three judges").normal(size=(3, 5, 200)) + np.arange(5)[:, None] / 4
    found = policy_failure(items(*worlds), seed=0)
    gain = found.filter(like="_rate") - found.filter(like="_rate").iloc[0]
    np.testing.assert_allclose(
        gain["proxy_win_rate"] - gain["gold_win_rate"], found[GAPS].sum(axis=1), atol=1e-9
    )
    np.testing.assert_allclose(found["gold_win_rate"], 100 * (worlds[2] > 0).mean(axis=1))
    np.testing.assert_allclose(found["sqrt_kl"], np.arange(5))
    assert found["step"].tolist() == [0, 10, 20, 30, 40]


def test_a_proxy_that_orders_as_the_pool_has_no_error_and_a_pool_like_gold_no_bias() -> None:
    rng = generator(0, "two judges")
    right, wrong = rng.normal(size=(2, 4, 100))
    of_the_pool = policy_failure(items(5 * wrong, wrong, right), seed=0)
    of_the_proxy = policy_failure(items(wrong, 3 * right, right), seed=0)
    assert (of_the_pool["reward_model_error"] == 0).all()
    assert (of_the_proxy["annotator_bias"] == 0).all()
    assert of_the_pool["annotator_bias"].abs().max() > 1
    assert of_the_proxy["reward_model_error"].abs().max() > 1


def test_instructions_that_a_judge_cannot_judge_are_left_out_and_none_is_an_error() -> None:
    rows = items(*generator(0, "gaps").normal(size=(3, 3, 50)))
    some = rows.assign(gold=rows["gold"].where(rows["instruction_id"] > "2"))
    kept = rows[rows["instruction_id"] > "2"]
    pd.testing.assert_frame_equal(policy_failure(some, seed=0), policy_failure(kept, seed=0))
    with pytest.raises(DataError, match=r"data\.gold"):
        policy_failure(rows.assign(gold=np.nan), seed=0)
    with pytest.raises(DataError, match="proxy_reference"):
        policy_failure(rows.drop(columns="proxy_reference"), seed=0)


def test_more_labels_remove_the_reward_models_error_and_leave_the_bias() -> None:
    few, many = (best_of_n_regret(samples(labels), seed=0).iloc[-1] for labels in (25, 10_000))
    assert few["reward_model_error_low"] > 0.3
    assert many["reward_model_error"] == pytest.approx(0, abs=0.05)
    assert few["annotator_bias"] == many["annotator_bias"] > 0
    assert few["annotator_bias_low"] > 0


def test_regret_of_best_of_n_has_its_closed_form() -> None:
    # Gold of the answer chosen by a judge is corr(judge, gold) times that of the best one.
    found = best_of_n_regret(samples(100), seed=0).iloc[15]
    gold_sd, pool_sd = np.sqrt(1 + 0.1**2), np.sqrt(1 + 0.2**2)
    covariance = 1 - 0.2 * 0.1
    highest = generator(0, "highest").normal(size=(100_000, 16)).max(axis=1).mean()
    assert found["gold_by_gold"] == pytest.approx(highest * gold_sd, abs=0.1)
    assert found["gold_by_pool"] == pytest.approx(highest * covariance / pool_sd, abs=0.1)
    proxy_sd = np.sqrt(pool_sd**2 + 1)
    assert found["gold_by_proxy"] == pytest.approx(highest * covariance / proxy_sd, abs=0.1)
    assert found["gold_by_gold"] - found["gold_by_proxy"] == pytest.approx(found[GAPS].sum())


def test_best_of_n_starts_at_the_start_and_the_proxy_wins_more_than_it_should() -> None:
    found = best_of_n_failure(samples(25), seed=0)
    assert found["n"].tolist() == list(range(1, 33))
    assert (found[GAPS].iloc[0] == 0).all()
    assert found["proxy_win_rate"].is_monotonic_increasing
    assert (found["reward_model_error_low"].iloc[1:] > 0).all()
    assert (found["kl_estimate"] <= found["kl_upper_bound"] + 1e-9).all()
