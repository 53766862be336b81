"""Drawing tokens, and what was drawn. The random number of a token is a function of (row seed,
position), so batch size and order do not change what is sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

BLOCK = 1024
"""Tokens of a vocabulary whose weights are added up first, to be searched only where the number
falls: over a large vocabulary most of what drawing would read and write is never needed."""


@dataclass(frozen=True)
class Rollouts:
    """Sampled answers, in the order of their prompts. T is the longest answer's length."""

    tokens_B_T: Tensor
    """int64; `pad_id` after the end."""
    mask_B_T: Tensor
    """bool; true on sampled tokens, the stop id included."""
    logprobs_B_T: Tensor
    """float32, nats, of the sampled tokens under the distribution they were drawn from (greedy:
    under the policy at temperature 1); 0 after the end."""
    stopped_B: Tensor
    """bool; whether the row ended with a stop id, not at the limit."""

    def responses(self) -> list[list[int]]:
        """The sampled ids of each row, the stop id included."""
        lengths = self.mask_B_T.sum(1).tolist()
        return [row[:n] for row, n in zip(self.tokens_B_T.tolist(), lengths, strict=True)]

    @staticmethod
    def empty(rows: int, max_new_tokens: int, pad_id: int, device: Any) -> "Rollouts":
        """To be written into."""
        shape = (rows, max_new_tokens)
        return Rollouts(
            torch.full(shape, pad_id, device=device),
            torch.zeros(shape, dtype=torch.bool, device=device),
            torch.zeros(shape, device=device),
            torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def trimmed(self) -> "Rollouts":
        """As wide as the longest answer."""
        longest = int(self.mask_B_T.sum(1).max()) if len(self.mask_B_T) else 0
        return Rollouts(
            self.tokens_B_T[:, :longest],
            self.mask_B_T[:, :longest],
            self.logprobs_B_T[:, :longest],
            self.stopped_B,
        )


def uniforms(row_seeds: Sequence[int], length: int) -> NDArray[np.float64]:
    """Counter-based uniform numbers in [0, 1), [rows, length].

    Number t of a row is the (t+1)-th output of SplitMix64 (Steele, Lea and Flood 2014) started at
    the row's seed.
    """
    counters = np.arange(1, length + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = np.asarray(row_seeds, dtype=np.uint64)[:, None] + counters
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)) * 2.0**-53)


def draw(weights_B_V: Tensor, uniform_B: Tensor) -> Tensor:
    """Token ids [B] by inverting the cumulative distribution; weights need not sum to 1."""
    last = weights_B_V.shape[-1] - 1
    if last < BLOCK:
        cdf_B_V = weights_B_V.cumsum(-1, dtype=torch.float64)
        return _first_above(cdf_B_V, uniform_B[:, None] * cdf_B_V[:, -1:])[:, 0]
    cdf_B_K = _block_sums(weights_B_V).cumsum(-1)
    heights_B_1 = uniform_B[:, None] * cdf_B_K[:, -1:]
    blocks_B_1 = _first_above(cdf_B_K, heights_B_1)
    below_B_1 = functional.pad(cdf_B_K, (1, 0)).gather(-1, blocks_B_1)
    ids_B_W = BLOCK * blocks_B_1 + torch.arange(BLOCK, device=weights_B_V.device)
    weights_B_W = weights_B_V.gather(-1, ids_B_W.clamp(max=last)) * (ids_B_W <= last)
    cdf_B_W = weights_B_W.cumsum(-1, dtype=torch.float64)
    inside_B_1 = _first_above(cdf_B_W, heights_B_1 - below_B_1)
    return (BLOCK * blocks_B_1 + inside_B_1).clamp_(max=last)[:, 0]


def _block_sums(weights_B_V: Tensor) -> Tensor:
    """Float64 [B, K]; the last block is what is left."""
    whole = weights_B_V.shape[-1] // BLOCK * BLOCK
    blocks_B_K_W = weights_B_V[:, :whole].view(len(weights_B_V), -1, BLOCK)
    left_B_W = weights_B_V[:, whole:]
    sums = (part.sum(-1, dtype=torch.float64) for part in (blocks_B_K_W, left_B_W[:, None]))
    return torch.cat(list(sums), dim=-1)


def _first_above(cdf_B_K: Tensor, heights_B_1: Tensor) -> Tensor:
    """Where a distribution is first above the height, [B, 1]; the last place with any weight,
    should rounding have put the height at the end."""
    total_B_1 = cdf_B_K[:, -1:]
    heights_B_1 = heights_B_1.minimum(total_B_1.nextafter(torch.zeros_like(total_B_1)))
    return torch.searchsorted(cdf_B_K, heights_B_1, right=True).clamp_(max=cdf_B_K.shape[-1] - 1)


def choose(logits_B_V: Tensor, uniform_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(token ids [B], their log-probabilities [B]) by inverting the cumulative distribution."""
    logits_B_V = logits_B_V.float()
    if temperature not in (0, 1):
        logits_B_V = logits_B_V / temperature
    logprobs_B_V = torch.log_softmax(logits_B_V, dim=-1)
    if temperature == 0:
        tokens_B_1 = logprobs_B_V.argmax(-1, keepdim=True)
    else:
        tokens_B_1 = draw(logprobs_B_V.exp(), uniform_B)[:, None]
    return tokens_B_1[:, 0], logprobs_B_V.gather(-1, tokens_B_1)[:, 0]
