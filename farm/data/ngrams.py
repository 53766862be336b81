"""N-gram language models, for telling how much a text is like others.

Interpolated Kneser-Ney smoothing (Kneser and Ney 1995; Chen and Goodman 1998, TR-10-98, section
2.7) with one discount for each order k. Of a token w behind the k - 1 tokens h,

    p_k(w | h) = max(c_k(h w) - D_k, 0) / c_k(h .) + D_k N_k(h .) / c_k(h .) * p_(k-1)(w | h')

h' being h without its first token, c_k the counts of the highest order, and for lower ones the
numbers of different tokens seen in front; N_k(h .) is how many different w have followed h, and
p_0 = 1 / V, where V counts the tokens seen and one for all others. Where h was never seen, p_(k-1)
counts alone. D_k = n_1 / (n_1 + 2 n_2), of how many k-grams have a count of 1 and of 2.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from farm.errors import DataError

Gram = tuple[int, ...]

_START = -1
"""Stands in front of a document, `order - 1` times; it is never predicted."""
_NO_COUNTS = 0.5
"""The discount where no k-gram has a count of 1, so that counts of counts say nothing."""


class _Order(NamedTuple):
    """What is known of k-grams of one length."""

    counts: Mapping[Gram, int]
    totals: Mapping[Gram, int]
    """c_k(h .) by h."""
    followers: Mapping[Gram, int]
    """N_k(h .) by h."""
    discount: float


class NGrams:
    """A model of documents as token ids, of n-grams up to `order` tokens; an end-of-document id
    is a token like others, if the documents have one. Raises DataError without documents."""

    def __init__(self, documents: Sequence[Sequence[int]], order: int) -> None:
        if not any(documents):
            raise DataError("a language model of n-grams needs a document to learn from.")
        self.order = order
        self._orders: list[_Order] = []
        counts = Counter(gram for document in documents for gram in _grams(document, order))
        while counts:
            self._orders.append(_order(counts))
            # How many different tokens have been seen in front of a shorter gram.
            counts = Counter(gram[1:] for gram in counts if len(gram) > 1)
        self._vocabulary = 1 + len(self._orders[-1].counts)

    def probability(self, token: int, history: Gram) -> float:
        """p(token | the last `order` - 1 ids of `history`, or as many as there are)."""
        found = 1 / self._vocabulary
        for below, order in enumerate(reversed(self._orders)):
            context = history[len(history) - below :]
            if below > len(history) or context not in order.totals:
                break
            seen, total = order.counts.get((*context, token), 0), order.totals[context]
            left = order.discount * order.followers[context]
            found = (max(seen - order.discount, 0.0) + left * found) / total
        return found

    def perplexity(self, document: Sequence[int]) -> float:
        """exp of the mean of -log p over the document's tokens."""
        if not document:
            raise DataError("an empty document has no perplexity.")
        logs = (math.log(self.probability(g[-1], g[:-1])) for g in _grams(document, self.order))
        return math.exp(-sum(logs) / len(document))


def _grams(document: Sequence[int], order: int) -> Iterator[Gram]:
    """One for each token: itself behind the tokens in front of it."""
    padded = (*[_START] * (order - 1), *document)
    return (padded[i : i + order] for i in range(len(document)))


def _order(counts: Mapping[Gram, int]) -> _Order:
    totals: dict[Gram, int] = defaultdict(int)
    followers: dict[Gram, int] = defaultdict(int)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        followers[gram[:-1]] += 1
    of_counts = Counter(counts.values())
    ones, twos = of_counts[1], of_counts[2]
    discount = ones / (ones + 2 * twos) if ones else _NO_COUNTS
    return _Order(dict(counts), dict(totals), dict(followers), discount)
