"""What PPO knows about the answers of one step, and how it is laid out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from farm.generation.decode import Rollouts, decode
from farm.generation.logprobs import batches, divergence, predict, token_logprobs
from farm.seeds import generator
from farm.training.advantages import explained_variance, masked_mean
from methods.ppo_update import Networks


@dataclass(frozen=True)
class Episodes:
    """Answers that the current policy sampled at temperature 1 with full support."""

    prompts: list[list[int]]
    responses: list[list[int]]
    mask_B_T: Tensor
    """bool; true on the answers' tokens, the stop id included."""
    stopped_B: Tensor
    """bool."""


@dataclass(frozen=True)
class Observed:
    """What the networks say about the answers' tokens before the update; float32 [B, T], 0
    outside the mask."""

    logprobs_B_T: Tensor
    start_logprobs_B_T: Tensor
    values_B_T: Tensor
    kl_B_T: Tensor
    """Exact KL(policy || start) at each token, nats."""
    entropy_B_T: Tensor
    """Of the policy at each token, nats."""


def draw(seed: int, population: int, begin: int, count: int) -> list[int]:
    """Indices `begin` to `begin + count` of an endless stream of shuffled passes."""
    first, last = begin // population, (begin + count - 1) // population
    passes = [generator(seed, "prompts", p).permutation(population) for p in range(first, last + 1)]
    chosen: list[int] = np.concatenate(passes)[begin - first * population :][:count].tolist()
    return chosen


def rollout(model: Any, prompts: Sequence[list[int]], **how: Any) -> Episodes:
    """One answer per prompt; `how` are the keywords of `farm.generation.decode.decode`."""
    rollouts: Rollouts = decode(model, prompts, temperature=1.0, **how)
    return Episodes(list(prompts), rollouts.responses(), rollouts.mask_B_T, rollouts.stopped_B)


def observe(
    networks: Networks, start: Any, episodes: Episodes, *, tokens_per_batch: int
) -> Observed:
    """One pass over the answers. Old log-probabilities are taken here rather than from sampling,
    so that the update's first ratio is 1 whatever engine sampled."""
    model = networks.model
    found = torch.zeros(5, *episodes.mask_B_T.shape, device=model.device)
    with torch.no_grad():
        for rows, batch in batches(model, episodes.prompts, episodes.responses, tokens_per_batch):
            ours, theirs = predict(model, batch), predict(start, batch)
            place(found, rows, episodes.mask_B_T, torch.stack([
                token_logprobs(ours.logits_N_V, batch.tokens_N),
                token_logprobs(theirs.logits_N_V, batch.tokens_N),
                networks.critic(batch, ours),
                divergence(ours.logits_N_V, theirs.logits_N_V),
                entropy(ours.logits_N_V),
            ]))  # fmt: skip
    return Observed(*found)


def place(target_K_B_T: Tensor, rows: Sequence[int], mask_B_T: Tensor, found_K_N: Tensor) -> None:
    """Write the tokens' figures, row after row, to where the rows' mask is true."""
    part_K_b_T = torch.zeros_like(target_K_B_T[:, : len(rows)])
    part_K_b_T[:, mask_B_T[rows]] = found_K_N
    target_K_B_T[:, rows] = part_K_b_T


def entropy(logits_N_V: Tensor) -> Tensor:
    """Of softmax(logits), in nats [N]."""
    logprobs_N_V = logits_N_V.float().log_softmax(-1)
    return -(logprobs_N_V.exp() * logprobs_N_V).sum(-1)


def describe(episodes: Episodes, observed: Observed, returns_B_T: Tensor) -> dict[str, float]:
    """A step's answers in numbers."""
    mask = episodes.mask_B_T
    return {
        "kl_to_start": float(observed.kl_B_T.sum(1).mean()),
        "entropy": float(masked_mean(observed.entropy_B_T, mask)),
        "length": float(mask.sum(1).float().mean()),
        "stopped": float(episodes.stopped_B.float().mean()),
        "explained_variance": explained_variance(observed.values_B_T, returns_B_T, mask),
    }
