"""Advantages along answers of unequal length, and what is done to them; masked [B, T] tensors.

Masks are true on an answer's tokens, which stand at the row's beginning without gaps.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Advantages(NamedTuple):
    """What GAE makes of rewards and values; 0 outside the mask."""

    advantages_B_T: Tensor
    returns_B_T: Tensor
    """Advantage plus value: what the value function learns."""


def gae(
    rewards_B_T: Tensor, values_B_T: Tensor, mask_B_T: Tensor, *, gamma: float, lambda_: float
) -> Advantages:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438, equation 16).

    A_t = sum_l (gamma lambda)^l delta_{t+l}, delta_t = r_t + gamma V_{t+1} - V_t; an answer's end
    is terminal: the value behind it is 0.
    """
    rewards_B_T, values_B_T = rewards_B_T * mask_B_T, values_B_T * mask_B_T
    advantages_B_T = torch.zeros_like(rewards_B_T)
    ahead_B = next_value_B = torch.zeros_like(rewards_B_T[:, 0])
    for t in reversed(range(rewards_B_T.shape[1])):
        delta_B = rewards_B_T[:, t] + gamma * next_value_B - values_B_T[:, t]
        ahead_B = delta_B + gamma * lambda_ * ahead_B
        advantages_B_T[:, t], next_value_B = ahead_B, values_B_T[:, t]
    return Advantages(advantages_B_T, advantages_B_T + values_B_T)


def masked_mean(values_B_T: Tensor, mask_B_T: Tensor) -> Tensor:
    """Mean where the mask is true."""
    return values_B_T[mask_B_T].mean()


def whiten(values_B_T: Tensor, mask_B_T: Tensor) -> Tensor:
    """Shifted and scaled to mean 0 and standard deviation 1 where the mask is true, 0 elsewhere."""
    values_N = values_B_T[mask_B_T]
    scale = values_N.std(correction=0).clamp(min=1e-8)
    return ((values_B_T - values_N.mean()) / scale) * mask_B_T


def explained_variance(values_B_T: Tensor, returns_B_T: Tensor, mask_B_T: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns): 1 is perfect, 0 is no better than a constant."""
    returns_N, values_N = returns_B_T[mask_B_T], values_B_T[mask_B_T]
    variance = float(returns_N.var(correction=0))
    return 1 - float((returns_N - values_N).var(correction=0)) / variance if variance > 0 else 0.0
