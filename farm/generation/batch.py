"""Rows that are decoded together, one token after the other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from farm.generation.cache import PreallocatedCache
from farm.generation.drawing import Rollouts, choose

COMPACT_BELOW = 0.8
"""Finished rows leave when fewer than this share of the batch is alive: copying the cache costs
about as much as one step."""


class Batch:
    """Prompts (token ids), to be answered in at most `new` tokens."""

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], rows: Sequence[int], new: int
    ) -> None:
        self.model, self.new = model, new
        device = model.device
        unique = list(dict.fromkeys(map(tuple, prompts)))
        numbers = {prompt: number for number, prompt in enumerate(unique)}
        self.width = max(map(len, unique))
        self.cache = PreallocatedCache(model.config, len(rows), self.width + new)
        # Prompts end at the same column, so that one write position serves all rows. The id that
        # fills the left side never matters.
        self.prompts_U_P = torch.tensor(
            [[0] * (self.width - len(p)) + list(p) for p in unique], device=device
        )
        self.padding_B_1 = torch.tensor([[self.width - len(p)] for p in unique], device=device)
        self.rows_B = torch.tensor(rows, device=device)
        """Where the rows stand in what is returned."""
        self._prompt_of_B = torch.tensor([numbers[tuple(p)] for p in prompts], device=device)
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
        logits_B_V = self.prefill()
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
                self.take(keep)
                self.rows_B = self.rows_B[keep]
                tokens_B, uniform_B_T, alive_B = tokens_B[keep], uniform_B_T[keep], alive_B[keep]
            logits_B_V = self._step(tokens_B, t)

    def prefill(self) -> Tensor:
        """Read the prompts, each once however many rows answer it; the first tokens' logits."""
        columns = torch.arange(self.width, device=self.prompts_U_P.device)
        mask_1_1_P_P = torch.full(
            (1, 1, self.width, self.width), torch.finfo(self.model.dtype).min,
            dtype=self.model.dtype, device=columns.device,
        ).triu(1)  # fmt: skip
        mask = torch.minimum(mask_1_1_P_P, self.mask_B_1_1_L[..., : self.width])
        positions_U_P = (columns - self.padding_B_1).clamp_(min=0)
        logits_U_V = self.forward(self.prompts_U_P, mask, positions_U_P, self.cache)
        self.take(self._prompt_of_B)
        return logits_U_V[self._prompt_of_B]

    def _step(self, tokens_B: Tensor, t: int) -> Tensor:
        position = self.width + t
        mask = self.mask_B_1_1_L[..., : position + 1]
        return self.forward(tokens_B[:, None], mask, position - self.padding_B_1, self.cache)

    def forward(self, ids_B_N: Tensor, mask: Tensor, positions_B_N: Tensor, cache: Any) -> Tensor:
        """The logits behind the last column, [B, V]."""
        output = self.model(
            input_ids=ids_B_N,
            attention_mask=mask,
            position_ids=positions_B_N,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_B_V: Tensor = output.logits[:, -1]
        return logits_B_V

    def take(self, rows: Tensor) -> None:
        """Go on with these (int64 indices); one may come several times."""
        self.cache.take_rows(rows)
        self.padding_B_1, self.mask_B_1_1_L = self.padding_B_1[rows], self.mask_B_1_1_L[rows]
