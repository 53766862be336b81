"""Batches of rows of similar length, so that little is spent on padding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from farm.seeds import generator

BLOCK_BATCHES = 8
"""Rows are sorted by length within this many batches: most padding goes, batches stay mixed."""


def bucketed_order(lengths: Sequence[int], *, batch_size: int, steps: int, seed: int) -> list[int]:
    """Row indices of a whole training run, [steps * batch_size]: shuffled passes over the rows,
    cut into batches of similar length that come in random order."""
    rng = generator(seed, "order")
    total = steps * batch_size
    passes = -(-total // len(lengths))
    stream = np.concatenate([rng.permutation(len(lengths)) for _ in range(passes)])[:total]
    sizes = np.asarray(lengths)
    # No longer than a pass, or copies of a row would meet in one batch.
    block_rows = max(1, min(BLOCK_BATCHES, len(lengths) // batch_size)) * batch_size
    order: list[int] = []
    for begin in range(0, total, block_rows):
        block = stream[begin : begin + block_rows]
        batches = block[np.argsort(sizes[block], kind="stable")].reshape(-1, batch_size)
        order.extend(rng.permutation(batches).ravel().tolist())
    return order


def length_batches(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    """Every index once, in batches of similar length: each a single row, or at most
    `tokens_per_batch` tokens with its padding."""
    batches: list[list[int]] = []
    for index in np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        if not batches or (len(batches[-1]) + 1) * lengths[index] > tokens_per_batch:
            batches.append([])
        batches[-1].append(index)
    return batches


def padded_ids(rows: Sequence[Sequence[int]], fill: int) -> NDArray[np.int64]:
    """[rows, longest]: each row, then `fill`. Padding stands on the right, where causal attention
    never looks."""
    ids_B_L = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for ids_L, row in zip(ids_B_L, rows, strict=True):
        ids_L[: len(row)] = row
    return ids_B_L
