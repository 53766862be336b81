"""Which policies can be told apart: all pairs, adjusted for their number, and groups of letters."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from string import ascii_letters
from typing import NamedTuple

import numpy as np

from farm.evaluation.variance import student_mean
from farm.protocols import FloatArray

LEVEL = 0.05


class Comparison(NamedTuple):
    """Two policies on the same seeds and instructions."""

    first: str
    second: str
    difference: float
    """First minus second, in the unit of the values."""
    standard_error: float
    p_value: float
    """Two-sided, by Student's t on the paired differences."""
    adjusted: float
    """The p-value after Holm (1979): below 0.05 the whole set of claims errs in at most 5 %."""


def compare_all(values: Mapping[str, FloatArray]) -> list[Comparison]:
    """Every pair of policies, in the order of `values`, each over seeds and instructions [S, N].

    p-values are from Student's t and not from a bootstrap: 2,000 replicates could not show the
    small ones that many comparisons ask for. Raises `DataError` as `student_mean` does.
    """
    pairs = list(combinations(values, 2))
    found = [student_mean(values[first] - values[second]) for first, second in pairs]
    p_values = np.array([mean.p_value for mean in found])
    return [
        Comparison(*pair, mean.estimate, mean.standard_error, float(p), float(adjusted))
        for pair, mean, p, adjusted in zip(pairs, found, p_values, holm(p_values), strict=True)
    ]


def holm(p_values_C: FloatArray) -> FloatArray:
    """Adjusted p-values (Holm 1979), in the order given."""
    order = np.argsort(p_values_C, kind="stable")
    steps = np.arange(len(order), 0, -1) * p_values_C[order]
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def letters(
    best_first: Sequence[str], comparisons: Iterable[Comparison], *, level: float = LEVEL
) -> dict[str, str]:
    """Compact letter display (Piepho 2004, insert and absorb): two policies share a letter exactly
    where they are not told apart at `level`."""
    groups = [frozenset(best_first)]
    for comparison in comparisons:
        if comparison.adjusted < level:
            pair = frozenset((comparison.first, comparison.second))
            split = [group - {one} for group in groups if pair <= group for one in pair]
            groups = _maximal([*(group for group in groups if not pair <= group), *split])
    places = {name: place for place, name in enumerate(best_first)}
    groups.sort(key=lambda group: sorted(places[name] for name in group))
    named = list(zip(map(_letter, range(len(groups))), groups, strict=True))
    return {
        name: "".join(letter for letter, group in named if name in group) for name in best_first
    }


def _maximal(groups: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Without those that lie in another."""
    distinct = list(dict.fromkeys(groups))
    return [group for group in distinct if not any(group < other for other in distinct)]


def _letter(number: int) -> str:
    """a to Z, then a' to Z' and so on."""
    primes, index = divmod(number, len(ascii_letters))
    return ascii_letters[index] + "'" * primes
