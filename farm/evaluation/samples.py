"""Answers side by side, for a reader."""

from collections.abc import Sequence

import pandas as pd

from farm.data.records import last_user_text
from farm.seeds import generator
from farm.types import Instruction

_COLUMNS = (
    "instruction",
    "category",
    "output_reference",
    "output",
    "expectation",
    "preference",
    "held_out",
    "gold_reference",
    "gold",
    "length_reference",
    "length",
)


def side_by_side(
    items: pd.DataFrame,
    instructions: Sequence[Instruction],
    references: Sequence[str],
    *,
    count: int,
    seed: int,
) -> pd.DataFrame:
    """`count` seeded rows of the items with the instruction's last user turn and both answers.

    `items`, `instructions` and `references` are aligned.
    """
    rows = items.assign(
        instruction=[last_user_text(instruction) for instruction in instructions],
        output_reference=list(references),
    )
    chosen = generator(seed, "samples").permutation(len(rows))[:count]
    return rows.iloc[sorted(chosen)][list(_COLUMNS)].reset_index(drop=True)
