"""Splits by hash."""

from collections import Counter

from farm.data.records import user_instruction
from farm.data.splits import disjoint, split_by_hash
from farm.types import MEASURED_SPLITS, SPLITS


def test_first_instructions_of_a_sorted_file_come_from_all_its_sources() -> None:
    rows = [user_instruction(f"question {n}", source="ab"[n >= 500]) for n in range(1000)]
    for split in split_by_hash(rows, dict.fromkeys(SPLITS, 0.2)).values():
        first = Counter(row.source for row in split[:100])
        # A fair draw of 100 has a standard deviation of 5.
        assert abs(first["a"] - 50) < 20


def test_splits_do_not_depend_on_the_order_of_rows() -> None:
    rows = [user_instruction(f"question {n}") for n in range(200)]
    ratios = dict.fromkeys(SPLITS, 0.2)
    assert split_by_hash(rows, ratios) == split_by_hash(rows[::-1], ratios)


def test_what_is_measured_is_there_once_in_ready_made_splits_too() -> None:
    splits = {n: [user_instruction(f"{n} {k % 5}") for k in range(10)] for n in SPLITS}
    for name, rows in disjoint(splits).items():
        assert len(rows) == (5 if name in MEASURED_SPLITS else 10)
