"""The decoding loop on a GPU, where a small model's step is over before the next of its hundreds of
kernels has been launched: a step is captured once as a CUDA graph and then launched as a whole.

A graph reads and writes fixed places, so what a step needs lies on the device: the position in a
tensor, keys and values in caches of fixed size, what was drawn in buffers. Rows that have ended go
on silently until a look at the device finds that enough have.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from farm.generation.batch import Batch
from farm.generation.cache import PreallocatedLayer
from farm.generation.drawing import Rollouts, choose
from farm.training.compute import count_replayed

LOOK_EVERY = 8
"""Steps between looks at how many rows have ended: each look waits for the device."""

COMPACT_BELOW = 0.5
"""Share of rows alive; a smaller batch needs a graph of its own, which costs some steps."""

STRETCH = 128
"""Positions; attention reads the cache as far as it has been written, rounded up to these."""


class GraphedBatch(Batch):
    """A batch whose steps are captured."""

    def run(self, out: Rollouts, uniform_B_T: Tensor, temperature: float, stop: Tensor) -> None:
        """Decode until every row has ended or reached the limit, writing into `out`."""
        logits_B_V = self.prefill()
        self._close_columns()
        drawn = _Drawn(uniform_B_T, temperature, stop)
        drawn.take_from(logits_B_V)
        done, seen, launch = 1, 0, None
        while done < self.new:
            if done % LOOK_EVERY == 1:
                alive = int(drawn.alive_B.sum())
                if alive == 0:
                    break
                if alive < COMPACT_BELOW * len(self.rows_B):
                    self._compact(drawn, out, self.width + done - 1)
                    launch = None
            if self.width + done > seen:
                seen = min(-(-(self.width + done) // STRETCH) * STRETCH, self.width + self.new)
                launch = None
            if launch is None:
                launch = self.captured(self._step_of(drawn, seen))
            launch()
            done += 1
        drawn.write(out, self.rows_B)

    def captured(self, step: Callable[[], None]) -> Callable[[], None]:
        """The step, to be launched again and again: the first time as it is, which readies what
        must not be readied in a capture, and captured from the second time on."""
        graph = torch.cuda.CUDAGraph()
        launches = 0

        def launch() -> None:
            nonlocal launches
            launches += 1
            if launches == 1:
                step()
                return
            if launches == 2:
                with torch.cuda.graph(graph):
                    step()
            else:
                count_replayed(self.model, len(self.rows_B))
            graph.replay()

        return launch

    def _close_columns(self) -> None:
        """What is not written yet is not attended to; nor must it be anything but numbers."""
        self.mask_B_1_1_L[..., self.width :] = torch.finfo(self.model.dtype).min
        for layer in self.cache.layers:
            layer.keys[:, :, self.width :] = 0
            layer.values[:, :, self.width :] = 0

    def _step_of(self, drawn: "_Drawn", seen: int) -> Callable[[], None]:
        """Reads the tokens drawn last and draws the next ones."""
        column_1 = torch.empty_like(drawn.next_1)
        cache = Cache(layers=[FixedLayer(layer, column_1, seen) for layer in self.cache.layers])
        mask_B_1_1_L = self.mask_B_1_1_L[..., :seen]

        def step() -> None:
            torch.add(drawn.next_1, self.width - 1, out=column_1)
            mask_B_1_1_L.index_fill_(3, column_1, 0)
            tokens_B_1 = drawn.latest_B[:, None]
            logits_B_V = self.forward(tokens_B_1, mask_B_1_1_L, column_1 - self.padding_B_1, cache)
            drawn.take_from(logits_B_V)

        return step

    def _compact(self, drawn: "_Drawn", out: Rollouts, columns: int) -> None:
        """Write down all rows and go on with those that are alive; so many columns are written."""
        drawn.write(out, self.rows_B)
        for layer in self.cache.layers:
            layer.used = columns
        keep = drawn.alive_B.nonzero()[:, 0]
        self.take(keep)
        self.rows_B = self.rows_B[keep]
        drawn.keep(keep)


class FixedLayer(CacheLayerMixin):
    """Another layer's keys and values, written at the column that a tensor names and read up to
    `seen`."""

    def __init__(self, layer: PreallocatedLayer, column_1: Tensor, seen: int) -> None:
        super().__init__()
        self.keys, self.values = layer.keys, layer.values
        self.column_1, self.seen = column_1, seen
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """It is there."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one position; views of all that may be attended to."""
        self.keys.index_copy_(2, self.column_1, key_states)
        self.values.index_copy_(2, self.column_1, value_states)
        return self.keys[:, :, : self.seen], self.values[:, :, : self.seen]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.seen, 0

    def get_seq_length(self) -> int:
        return self.seen - 1

    def get_max_length(self) -> int:
        return self.seen


class _Drawn:
    """What has been drawn, on the device."""

    def __init__(self, uniform_B_T: Tensor, temperature: float, stop: Tensor) -> None:
        self._temperature, self._stop = temperature, stop
        self._uniform_B_T = uniform_B_T
        self._tokens_B_T = torch.zeros_like(uniform_B_T, dtype=torch.int64)
        self._logprobs_B_T = torch.zeros_like(uniform_B_T, dtype=torch.float32)
        self._mask_B_T = torch.zeros_like(uniform_B_T, dtype=torch.bool)
        self.latest_B = self._tokens_B_T[:, 0].clone()
        self.alive_B = torch.ones_like(self.latest_B, dtype=torch.bool)
        self.next_1 = torch.zeros(1, dtype=torch.int64, device=uniform_B_T.device)
        """The next token's place in an answer."""

    def take_from(self, logits_B_V: Tensor) -> None:
        """The next token of every row."""
        uniform_B = self._uniform_B_T.index_select(1, self.next_1)[:, 0]
        tokens_B, logprobs_B = choose(logits_B_V, uniform_B, self._temperature)
        self._tokens_B_T.index_copy_(1, self.next_1, tokens_B[:, None])
        self._logprobs_B_T.index_copy_(1, self.next_1, logprobs_B[:, None])
        self._mask_B_T.index_copy_(1, self.next_1, self.alive_B[:, None])
        self.alive_B &= (tokens_B[:, None] != self._stop).all(1)
        self.latest_B.copy_(tokens_B)
        self.next_1 += 1

    def write(self, out: Rollouts, rows_B: Tensor) -> None:
        """To where the rows belong."""
        mask_B_T = self._mask_B_T
        out.tokens_B_T[rows_B] = torch.where(mask_B_T, self._tokens_B_T, out.tokens_B_T[rows_B])
        out.logprobs_B_T[rows_B] = self._logprobs_B_T * mask_B_T
        out.mask_B_T[rows_B] = mask_B_T
        out.stopped_B[rows_B] = ~self.alive_B

    def keep(self, rows: Tensor) -> None:
        """Forget all others (int64 indices)."""
        self._uniform_B_T, self._tokens_B_T = self._uniform_B_T[rows], self._tokens_B_T[rows]
        self._logprobs_B_T, self._mask_B_T = self._logprobs_B_T[rows], self._mask_B_T[rows]
        self.latest_B, self.alive_B = self.latest_B[rows], self.alive_B[rows]
