"""How varied texts are."""

from collections.abc import Sequence
from itertools import chain


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words as a share of all n-grams in the texts (distinct-n, Li et al.
    2016, arXiv 1510.03055); NaN where there are none. It falls as texts become more: compare equal
    numbers of them."""
    grams = list(chain.from_iterable(_grams(text.split(), n) for text in texts))
    return len(set(grams)) / len(grams) if grams else float("nan")


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
