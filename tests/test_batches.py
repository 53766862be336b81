"""Every row once per pass, in batches of similar length."""

import numpy as np
import pytest

from farm.seeds import generator
from farm.training.batches import bucketed_order, length_batches

LENGTHS = generator(0, "lengths").integers(4, 40, size=1024).tolist()


def test_a_pass_has_every_row_once() -> None:
    order = bucketed_order(LENGTHS, batch_size=32, steps=64, seed=0)
    assert sorted(order[:1024]) == sorted(order[1024:]) == list(range(1024))
    assert order[:1024] != order[1024:]


def test_the_order_is_a_function_of_the_seed() -> None:
    short = bucketed_order(LENGTHS, batch_size=32, steps=32, seed=0)
    assert bucketed_order(LENGTHS, batch_size=32, steps=32, seed=0) == short
    assert bucketed_order(LENGTHS, batch_size=32, steps=32, seed=1) != short


def test_batches_have_little_padding() -> None:
    order = bucketed_order(LENGTHS, batch_size=32, steps=32, seed=0)
    batches = np.array(LENGTHS)[order].reshape(-1, 32)
    padding = 1 - batches.mean() / batches.max(axis=1).mean()
    assert padding < 0.1
    widths = batches.max(axis=1)
    assert np.corrcoef(widths[:-1], widths[1:])[0, 1] < 0.5  # and do not come by length


@pytest.mark.parametrize("rows", [1, 3, 31, 33])
def test_rows_that_do_not_fill_a_batch(rows: int) -> None:
    order = bucketed_order(LENGTHS[:rows], batch_size=32, steps=3, seed=0)
    assert len(order) == 96
    assert set(order) == set(range(rows))


def test_length_batches_hold_every_row_within_the_limit() -> None:
    batches = length_batches(LENGTHS, tokens_per_batch=200)
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    assert all(len(b) * max(LENGTHS[i] for i in b) <= 200 for b in batches)
    assert length_batches([500, 3], tokens_per_batch=200) == [[1], [0]]
    assert length_batches([], tokens_per_batch=200) == []
