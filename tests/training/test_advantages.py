"""GAE, whitening and explained variance against their definitions."""

import pytest
import torch

from farm.training.advantages import explained_variance, gae, masked_mean, whiten


@pytest.fixture
def answers() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(rewards, values, mask) of answers of 1 to 6 tokens, with rubbish behind their ends."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([6, 1, 4, 2])
    mask = torch.arange(6) < lengths[:, None]
    rewards, values = torch.randn(2, 4, 6, generator=generator)
    return rewards, values, mask


@pytest.mark.parametrize(("gamma", "lambda_"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.5), (0.9, 0.0)])
def test_gae_is_the_discounted_sum_of_td_errors(answers, gamma: float, lambda_: float) -> None:
    rewards, values, mask = answers
    found = gae(rewards, values, mask, gamma=gamma, lambda_=lambda_)
    for row, length in enumerate(mask.sum(1).tolist()):
        r, v = rewards[row, :length].tolist(), [*values[row, :length].tolist(), 0.0]
        delta = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            expected = sum((gamma * lambda_) ** k * delta[t + k] for k in range(length - t))
            assert found.advantages_B_T[row, t] == pytest.approx(expected, abs=1e-5)
            assert found.returns_B_T[row, t] == pytest.approx(expected + v[t], abs=1e-5)
        assert not found.advantages_B_T[row, length:].any()


def test_with_lambda_1_returns_are_the_rewards_ahead_whatever_the_values(answers) -> None:
    rewards, values, mask = answers
    found = gae(rewards, values, mask, gamma=1.0, lambda_=1.0)
    ahead = (rewards * mask).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(found.returns_B_T * mask, ahead * mask)


def test_whitening_sees_answer_tokens_only(answers) -> None:
    rewards, _, mask = answers
    whitened = whiten(rewards, mask)
    inside = whitened[mask]
    assert inside.mean().abs() < 1e-6 and inside.std(correction=0) == pytest.approx(1)
    assert not whitened[~mask].any()
    torch.testing.assert_close(whiten(rewards.masked_fill(~mask, 1e6), mask), whitened)
    assert masked_mean(rewards.masked_fill(~mask, 1e6), mask) == rewards[mask].mean()
    assert not whiten(torch.full_like(rewards, 3.0), mask).any()


def test_explained_variance(answers) -> None:
    returns, _, mask = answers
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(torch.full_like(returns, 5.0), returns, mask) == pytest.approx(
        0, abs=1e-6
    )
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3)
