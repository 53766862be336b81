"""A causal language model that reads rows piece by piece and can forget what it has read."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from farm.generation.cache import check_attention


@dataclass(frozen=True)
class Columns:
    """What is to be read next, [B, N] each; a row has no use for columns that are not valid."""

    ids_B_N: Tensor
    valid_B_N: Tensor
    """bool."""
    positions_B_N: Tensor

    def then(self, ids_B_K: Tensor, valid_B_K: Tensor, last_B: Tensor) -> "Columns":
        """With K more behind them; no position lies beyond `last_B`."""
        return self.joined(self.behind(ids_B_K, valid_B_K, last_B))

    def joined(self, others: "Columns") -> "Columns":
        """With others behind them."""
        pairs = zip(vars(self).values(), vars(others).values(), strict=True)
        return Columns(*(torch.cat(pair, dim=1) for pair in pairs))

    def behind(self, ids_B_K: Tensor, valid_B_K: Tensor, last_B: Tensor) -> "Columns":
        """The K columns behind these."""
        steps_K = torch.arange(1, ids_B_K.shape[1] + 1, device=ids_B_K.device)
        positions_B_K = (self.positions_B_N[:, -1:] + steps_K).minimum(last_B[:, None])
        return Columns(ids_B_K, valid_B_K, positions_B_K)

    def of(self, rows: Tensor) -> "Columns":
        """Those of some rows (int64 indices)."""
        return Columns(*(column[rows] for column in vars(self).values()))


class Reader:
    """Reads columns into a key-value cache; what a row must not see is masked."""

    def __init__(self, model: Any, rows: int, length: int) -> None:
        """`length` is the longest that prompt and answer can be, in tokens."""
        check_attention(model.config.get_text_config(decoder=True), length)
        self.model = model
        self.hidden_B_D = torch.empty(0)
        """What went into the output layer at the last column."""
        self._cache = DynamicCache()
        self._valid_B_L = torch.zeros(rows, 0, dtype=torch.bool, device=model.device)

    @property
    def width(self) -> int:
        """Of the vocabulary."""
        width: int = self.model.get_output_embeddings().weight.shape[0]
        return width

    def read(self, columns: Columns, keep: int) -> Tensor:
        """Logits [B, keep, V] at the last columns."""
        self._valid_B_L = torch.cat([self._valid_B_L, columns.valid_B_N], dim=1)
        hook = self.model.get_output_embeddings().register_forward_pre_hook(self._keep_hidden)
        try:
            output = self.model(
                input_ids=columns.ids_B_N,
                attention_mask=self._mask(columns.ids_B_N.shape[1]),
                position_ids=columns.positions_B_N,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=keep,
            )
        finally:
            hook.remove()
        logits_B_K_V: Tensor = output.logits
        return logits_B_K_V

    def _mask(self, new: int) -> Tensor:
        """Additive, [B, 1, new, L]."""
        length, dtype = self._valid_B_L.shape[1], self.model.dtype
        past_N_L = self._valid_B_L.new_ones(new, length).tril(length - new)
        hidden_B_N_L = ~(self._valid_B_L[:, None] & past_N_L)
        # Not -inf: a column that is not valid may see nothing, and 0/0 would spread from there.
        lowest = torch.finfo(dtype).min
        return hidden_B_N_L[:, None].to(dtype) * lowest

    def _keep_hidden(self, module: Any, inputs: tuple[Tensor]) -> None:
        self.hidden_B_D = inputs[0][:, -1]

    def forget(self, kept_B_K: Tensor) -> None:
        """Of the last K columns only these were right (bool); the end that no row has kept goes."""
        if kept_B_K.shape[1] == 0:
            return
        read = self._valid_B_L.shape[1]
        self._valid_B_L[:, read - kept_B_K.shape[1] :] &= kept_B_K
        length = int(self._valid_B_L.any(0).nonzero().max()) + 1
        self._cache.crop(length - read)
        self._valid_B_L = self._valid_B_L[:, :length]

    def keep_rows(self, rows: Tensor) -> None:
        """Forget all rows but these (int64 indices)."""
        self._cache.batch_select_indices(rows)
        self._valid_B_L = self._valid_B_L[rows]
