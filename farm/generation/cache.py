"""A key-value cache that is allocated once and written in place."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from farm.errors import FarmError


class PreallocatedLayer(CacheLayerMixin):
    """Keys and values of one attention layer, [rows, heads, length, head_dim], with room for
    `most_rows`."""

    def __init__(self, most_rows: int, length: int) -> None:
        super().__init__()
        self.most_rows, self.length = most_rows, length
        self.used = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        rows, heads, _, key_dim = key_states.shape
        shape = (self.most_rows, heads, self.length)
        self._all_keys = key_states.new_empty(*shape, key_dim)
        self._all_values = value_states.new_empty(*shape, value_states.shape[-1])
        self.keys, self.values = self._all_keys[:rows], self._all_values[:rows]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the new positions; views of all positions so far, not copies."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        first, self.used = self.used, self.used + key_states.shape[2]
        self.keys[:, :, first : self.used] = key_states
        self.values[:, :, first : self.used] = value_states
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def take_rows(self, rows: Tensor) -> None:
        """Be these rows (int64 indices) from now on; one may come several times."""
        keys, values = self._all_keys[: len(rows)], self._all_values[: len(rows)]
        keys[:, :, : self.used] = self.keys[rows, :, : self.used]
        values[:, :, : self.used] = self.values[rows, :, : self.used]
        self.keys, self.values = keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.used + query_length, 0

    def get_seq_length(self) -> int:
        return self.used

    def get_max_length(self) -> int:
        return self.length


class PreallocatedCache(Cache):
    """A `PreallocatedLayer` for every layer of a decoder."""

    def __init__(self, config: Any, most_rows: int, length: int) -> None:
        config = config.get_text_config(decoder=True)
        check_attention(config, length)
        count = config.num_hidden_layers
        super().__init__(layers=[PreallocatedLayer(most_rows, length) for _ in range(count)])

    def take_rows(self, rows: Tensor) -> None:
        """Be these rows (int64 indices) from now on; one may come several times."""
        for layer in self.layers:
            layer.take_rows(rows)


def check_attention(config: Any, length: int) -> None:
    """Raise `FarmError` where attending to the whole past would not be what the model does."""
    window = getattr(config, "sliding_window", None)
    unnamed = "full_attention" if window is None else "sliding_attention"
    layer_types = set(getattr(config, "layer_types", None) or [unnamed])
    if other := layer_types - {"full_attention", "sliding_attention"}:
        raise FarmError(
            f"sampler: our decoding loop knows full attention; this model has {sorted(other)}. "
            "Use sampler=vllm."
        )
    if "sliding_attention" in layer_types and window is not None and length > window:
        raise FarmError(
            f"sampler: prompt and answer may reach {length} tokens, but the model's attention "
            f"window is {window}. Lower model.max_prompt_tokens or model.max_new_tokens, or use "
            "sampler=vllm."
        )
