"""A scorer's numbers for many answers, piece by piece, by whoever is there."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from farm.data.records import chunks
from farm.pool import Pool
from farm.protocols import FloatArray, Scorer
from farm.types import Instruction

_PIECE = 256
"""Answers that are scored together."""


def pooled_scores(
    scorer: Scorer,
    pool: Pool,
    instructions: Sequence[Instruction],
    texts: Sequence[str],
    on_piece: Callable[[int], None] = lambda done: None,
) -> FloatArray:
    """Scores [N] of aligned instructions and texts; `on_piece` hears how many are done."""
    tasks = list(chunks(list(zip(instructions, texts, strict=True)), _PIECE))
    scores: list[FloatArray] = []
    for found in pool.map(partial(_score, scorer), tasks):
        scores.append(found)
        on_piece(sum(map(len, scores)))
    return np.concatenate(scores) if scores else np.empty(0)


def _score(scorer: Scorer, piece: Sequence[tuple[Instruction, str]]) -> FloatArray:
    found = scorer.score([instruction for instruction, _ in piece], [text for _, text in piece])
    return np.asarray(found, dtype=np.float64)
