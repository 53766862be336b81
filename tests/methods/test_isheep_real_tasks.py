"""The rules on tasks that people wrote: a small file of Self-Instruct's schema, and the seed tasks
themselves where they are."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from real_tasks import FILE, drafts, table

from farm.data.files import read_rows
from farm.data.rows import RowError, instruction_of
from methods.isheep_filters import PASSED, count_broken

OURS = Path(__file__).parent / "seed_tasks.jsonl"


def test_counts_per_rule() -> None:
    counts = count_broken(drafts(OURS))
    assert counts == {
        PASSED: 3, "asks_back": 1, "media": 1, "repeated_input": 1, "length": 1, "repeated": 1,
    }  # fmt: skip
    assert table(counts).splitlines()[-1].split() == ["in", "all", "8"]


def test_the_first_instance_has_input_and_output() -> None:
    rows = read_rows(OURS)
    assert rows[1].messages[0].content == "Sort the numbers from low to high.\n\n7 3 5"
    assert rows[1].demonstration == "3 5 7"
    with pytest.raises(RowError, match="`instances`"):
        instruction_of({"instruction": "Name a river.", "instances": []})


@pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE.name} here")
def test_few_tasks_of_people_are_dropped() -> None:
    """175 tasks, of which no more than a fifth may go."""
    counts = count_broken(drafts(FILE))
    assert counts.total() == 175
    assert counts[PASSED] > 140
