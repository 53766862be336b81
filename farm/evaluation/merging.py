"""What a merge gains over its parents (Lu, Luu and Buehler, arXiv 2409.03444)."""

from typing import NamedTuple


class MergeGain(NamedTuple):
    """Of one merge of two policies, in the units of their performances."""

    expected: float
    """E = (P_1 + P_2) / 2."""
    diversity: float
    """|P_1 - P_2|."""
    over_expected: float
    """P_merged - E: synergy where it is positive."""
    over_best: float
    """P_merged - max(P_1, P_2), the paper's improvement."""


def merge_gain(merged: float, first: float, second: float) -> MergeGain:
    """From the performances of the merged policy and of its parents."""
    expected = (first + second) / 2
    return MergeGain(expected, abs(first - second), merged - expected, merged - max(first, second))
