"""Plumbing on real text: how many of people's own tasks and answers each of I-SHEEP's rules drops.

    python tests/benchmarks/real_tasks.py [FILE]

FILE has Self-Instruct's seed tasks (`instruction`, `instances` of `input` and `output`) or
the Alpaca schema. People wrote these, so a rule that drops many of them drops too many. The counts
say nothing of what a model would write.
"""

import argparse
import os
from collections import Counter
from pathlib import Path

from farm.data.files import read_rows
from farm.data.records import last_user_text
from farm.data.self_instruct import Task
from methods.isheep_filters import PASSED, Draft, count_broken

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("FARM_SHARED_DATA", ROOT.parent / "shared" / "data"))
FILE = SHARED / "instructions" / "seed_tasks.jsonl"


def drafts(path: Path) -> list[Draft]:
    """The tasks of a file with their answers; what stands behind the first empty line is input."""
    return [
        Draft(
            Task(*map(str.strip, last_user_text(row).partition("\n\n")[::2])),
            row.demonstration or "",
        )
        for row in read_rows(path)
    ]


def table(counts: Counter[str]) -> str:
    """Rules and their counts, those that passed last."""
    lines = [(name, counts[name]) for name in sorted(counts.keys() - {PASSED})]
    lines += [(PASSED, counts[PASSED]), ("in all", counts.total())]
    return "\n".join(f"{name:<16}{count:>6}" for name, count in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    print(table(count_broken(drafts(parser.parse_args().file))))


if __name__ == "__main__":
    main()
