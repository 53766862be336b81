"""PPO's formulas: tensors and numbers in, tensors out."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


def k1(logprobs: Tensor, start_logprobs: Tensor) -> Tensor:
    """log pi - log pi_start: unbiased, of either sign.

    AlpacaFarm clamps it at 0 for every token, so that its sum overestimates the divergence and
    tokens that have become less likely are not rewarded for it.
    """
    return logprobs - start_logprobs


def k3(logprobs: Tensor, start_logprobs: Tensor) -> Tensor:
    """r - 1 - log r with r = pi_start / pi (Schulman 2020, joschu.net/blog/kl-approx.html):
    unbiased, never negative, less noisy while the policies are close."""
    log_ratio = start_logprobs - logprobs
    return log_ratio.exp() - 1 - log_ratio


KL_ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k3": k3}


def shaped_rewards(
    rewards_B: Tensor, kl_B_T: Tensor, mask_B_T: Tensor, coefficient: float
) -> Tensor:
    """-coefficient * KL at every token, plus the answer's reward at its last token; [B, T].

    The last token is found by length. AlpacaFarm searches for padding, which is off by one where
    pad = eos. It then scales these rewards by their standard deviation, padding included; ours
    stay in the units of the standardised reward.
    """
    shaped_B_T = -coefficient * kl_B_T * mask_B_T
    last_B_1 = mask_B_T.sum(1, keepdim=True) - 1
    return shaped_B_T.scatter_add(1, last_B_1, rewards_B[:, None].to(shaped_B_T.dtype))


class PolicyLoss(NamedTuple):
    """Per token."""

    loss_N: Tensor
    clipped_N: Tensor
    """1.0 where the clipped ratio decides, so that no gradient flows."""


def policy_loss(
    logprobs_N: Tensor, old_logprobs_N: Tensor, advantages_N: Tensor, clip: float
) -> PolicyLoss:
    """max(-A rho, -A clip(rho, 1 - clip, 1 + clip)) (Schulman et al. 2017, arXiv 1707.06347,
    equation 7), rho = pi / pi_old."""
    ratio_N = (logprobs_N - old_logprobs_N).exp()
    free_N = -advantages_N * ratio_N
    held_N = -advantages_N * ratio_N.clamp(1 - clip, 1 + clip)
    return PolicyLoss(torch.maximum(free_N, held_N), (held_N > free_N).float())


def value_loss(values_N: Tensor, old_values_N: Tensor, returns_N: Tensor, clip: float) -> Tensor:
    """max((V - R)^2, (V_clipped - R)^2) / 2 per token, V_clipped within `clip` of the old value."""
    near_N = old_values_N + (values_N - old_values_N).clamp(-clip, clip)
    return 0.5 * torch.maximum((values_N - returns_N) ** 2, (near_N - returns_N) ** 2)
