"""Our decoding loop for small causal language models.

What makes it faster than a general one at small sizes: prompts sorted by length, a key-value
cache written in place, the attention mask handed over ready-made, rows that have ended leave the
batch, and log-probabilities taken from the pass that samples. The random number of a token is a
function of (row seed, position), so batch size and order do not change what is sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from farm.generation.cache import PreallocatedCache

COMPACT_BELOW = 0.8
"""Finished rows leave when fewer than this share of the batch is alive: copying the cache costs
about as much as one step."""


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
    cdf_B_V = weights_B_V.cumsum(-1, dtype=torch.float64)
    heights_B_1 = uniform_B[:, None] * cdf_B_V[:, -1:]
    tokens_B_1 = torch.searchsorted(cdf_B_V, heights_B_1, right=True)
    return tokens_B_1.clamp_(max=weights_B_V.shape[-1] - 1)[:, 0]


def choose(logits_B_V: Tensor, uniform_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(token ids [B], their log-probabilities [B]) by inverting the cumulative distribution."""
    logprobs_B_V = torch.log_softmax(logits_B_V.float() / (temperature or 1.0), dim=-1)
    if temperature == 0:
        tokens_B_1 = logprobs_B_V.argmax(-1, keepdim=True)
    else:
        tokens_B_1 = draw(logprobs_B_V.exp(), uniform_B)[:, None]
    return tokens_B_1[:, 0], logprobs_B_V.gather(-1, tokens_B_1)[:, 0]


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    row_seeds: Sequence[int],
    max_new_tokens: int,
    temperature: float,
    stop_ids: Sequence[int],
    pad_id: int,
    batch_size: int,
) -> Rollouts:
    """Sample one answer per prompt (token ids, not empty) from a causal LM in evaluation mode.

    `row_seeds` are 63-bit integers; temperature 0 is greedy.
    """
    device = model.device
    out = Rollouts.empty(len(prompts), max_new_tokens, pad_id, device)
    stop = torch.tensor(list(stop_ids), device=device)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    with torch.inference_mode():
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            uniform_B_T = torch.from_numpy(uniforms([row_seeds[i] for i in rows], max_new_tokens))
            batch = _Batch(model, [prompts[i] for i in rows], rows, max_new_tokens)
            batch.run(out, uniform_B_T.to(device), temperature, stop)
    return out.trimmed()


class _Batch:
    """Rows that are decoded together; those that have ended are dropped now and then."""

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], rows: Sequence[int], new: int
    ) -> None:
        self.model, self.new = model, new
        self.width = max(len(p) for p in prompts)
        self.cache = PreallocatedCache(model.config, self.width + new)
        device = model.device
        # Prompts end at the same column, so that one write position serves all rows. The id that
        # fills the left side never matters.
        self.prompts_B_P = torch.tensor(
            [[0] * (self.width - len(p)) + list(p) for p in prompts], device=device
        )
        self.padding_B_1 = torch.tensor([[self.width - len(p)] for p in prompts], device=device)
        self.rows_B = torch.tensor(rows, device=device)
        self.mask_B_1_1_L = self._mask()

    def _mask(self) -> Tensor:
        """Additive mask over all positions the batch will ever have, [B, 1, 1, L]."""
        columns = torch.arange(self.width + self.new, device=self.padding_B_1.device)
        mask_B_L = torch.zeros(
            len(self.padding_B_1), len(columns), dtype=self.model.dtype, device=columns.device
        )
        # Not -inf: a row of padding attends to nothing, and 0/0 would spread from there.
        mask_B_L.masked_fill_(columns < self.padding_B_1, torch.finfo(self.model.dtype).min)
        return mask_B_L[:, None, None]

    def run(self, out: Rollouts, uniform_B_T: Tensor, temperature: float, stop: Tensor) -> None:
        """Decode until every row has ended or reached the limit, writing into `out`."""
        logits_B_V = self._prefill()
        alive_B = torch.ones_like(self.rows_B, dtype=torch.bool)
        for t in range(self.new):
            tokens_B, logprobs_B = choose(logits_B_V, uniform_B_T[:, t], temperature)
            rows = self.rows_B[alive_B]
            out.tokens_B_T[rows, t] = tokens_B[alive_B]
            out.logprobs_B_T[rows, t] = logprobs_B[alive_B]
            out.mask_B_T[rows, t] = True
            ended_B = alive_B & torch.isin(tokens_B, stop)
            out.stopped_B[self.rows_B[ended_B]] = True
            alive_B &= ~ended_B
            alive = int(alive_B.sum())
            if alive == 0 or t == self.new - 1:
                return
            if alive < COMPACT_BELOW * len(alive_B):
                keep = alive_B.nonzero()[:, 0]
                self._keep(keep)
                tokens_B, uniform_B_T, alive_B = tokens_B[keep], uniform_B_T[keep], alive_B[keep]
            logits_B_V = self._step(tokens_B, t)

    def _prefill(self) -> Tensor:
        columns = torch.arange(self.width, device=self.prompts_B_P.device)
        mask_1_1_P_P = torch.full(
            (1, 1, self.width, self.width), torch.finfo(self.model.dtype).min,
            dtype=self.model.dtype, device=columns.device,
        ).triu(1)  # fmt: skip
        mask = torch.minimum(mask_1_1_P_P, self.mask_B_1_1_L[..., : self.width])
        return self._forward(self.prompts_B_P, mask, (columns - self.padding_B_1).clamp_(min=0))

    def _step(self, tokens_B: Tensor, t: int) -> Tensor:
        position = self.width + t
        mask = self.mask_B_1_1_L[..., : position + 1]
        return self._forward(tokens_B[:, None], mask, position - self.padding_B_1)

    def _forward(self, ids_B_N: Tensor, mask: Tensor, position_ids_B_N: Tensor) -> Tensor:
        output = self.model(
            input_ids=ids_B_N,
            attention_mask=mask,
            position_ids=position_ids_B_N,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_B_V: Tensor = output.logits[:, -1]
        return logits_B_V

    def _keep(self, keep: Tensor) -> None:
        self.cache.keep_rows(keep)
        self.rows_B, self.padding_B_1 = self.rows_B[keep], self.padding_B_1[keep]
        self.mask_B_1_1_L = self.mask_B_1_1_L[keep]
