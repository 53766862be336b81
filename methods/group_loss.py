"""Formulas of learners that compare the answers to one prompt; G answers to each, contiguous."""

from typing import NamedTuple

import torch
from torch import Tensor


def group_advantages(rewards_B: Tensor, answers_per_prompt: int) -> Tensor:
    """(r - mean) / std within each group [B] (Shao et al. 2024, arXiv 2402.03300, section 4.1.2);
    the standard deviation is the sample's, and 1e-4 is added to it, as in TRL."""
    rewards_P_G = rewards_B.view(-1, answers_per_prompt)
    centred_P_G = rewards_P_G - rewards_P_G.mean(1, keepdim=True)
    return (centred_P_G / (rewards_P_G.std(1, keepdim=True) + 1e-4)).flatten()


def leave_one_out_advantages(rewards_B: Tensor, answers_per_prompt: int) -> Tensor:
    """r_i minus the mean of the group's other rewards [B] (Kool et al. 2019; Ahmadian et al. 2024,
    arXiv 2402.14740, equation 8)."""
    rewards_P_G = rewards_B.view(-1, answers_per_prompt)
    others = answers_per_prompt - 1
    baseline_P_G = (rewards_P_G.sum(1, keepdim=True) - rewards_P_G) / others
    return (rewards_P_G - baseline_P_G).flatten()


class SequenceLoss(NamedTuple):
    """Per answer."""

    loss_B: Tensor
    clipped_B: Tensor
    """1.0 where the clipped ratio decides, so that no gradient flows."""


def sequence_policy_loss(
    logprobs_B: Tensor, old_logprobs_B: Tensor, advantages_B: Tensor, clip: float
) -> SequenceLoss:
    """max(-A rho, -A clip(rho, 1 - clip, 1 + clip)) with rho = pi(y | x) / pi_old(y | x) of whole
    answers: on the first pass its gradient is REINFORCE's, -A grad log pi(y | x)."""
    ratio_B = (logprobs_B - old_logprobs_B).exp()
    free_B = -advantages_B * ratio_B
    held_B = -advantages_B * ratio_B.clamp(1 - clip, 1 + clip)
    return SequenceLoss(torch.maximum(free_B, held_B), (held_B > free_B).float())


def answer_sums(values_N: Tensor, tokens_B: Tensor) -> Tensor:
    """Sums [B] over answers of `tokens_B` tokens that lie behind each other in [N]."""
    rows_N = torch.repeat_interleave(torch.arange(len(tokens_B), device=tokens_B.device), tokens_B)
    return torch.zeros(len(tokens_B), device=values_N.device).index_add(0, rows_N, values_N)
