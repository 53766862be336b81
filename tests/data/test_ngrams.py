"""Kneser-Ney by hand, and as a probability."""

import math
from itertools import product

import pytest

from farm.data.ngrams import NGrams
from farm.errors import DataError

A, B, END = 1, 2, 0
DOCUMENTS = [[A, B, END], [A, B, END], [B, A, END]]
"""Bigrams, S being the start: S A 2, S B 1, A B 2, B END 2, B A 1, A END 1."""


def test_a_bigram_model_is_what_a_hand_computes() -> None:
    model = NGrams(DOCUMENTS, order=2)
    # Three bigrams have a count of 1 and three of 2: the discount is 3 / (3 + 2 * 3) = 1/3.
    # In front of A stand S and B, in front of B stand S and A, in front of END stand B and A:
    # continuation counts are 2, 2, 2 of 6, none of which is 1, so their discount is 1/2.
    # p(w) = (2 - 1/2) / 6 + (1/2 * 3 / 6) * 1/4, V being 3 tokens and one for all others.
    unigram = 1.5 / 6 + 0.25 / 4
    other = 0.25 / 4
    assert model.probability(A, ()) == pytest.approx(unigram)
    assert model.probability(7, ()) == pytest.approx(other)
    # A was seen 3 times in front of something, B twice and END once: two followers.
    left = (1 / 3) * 2 / 3
    assert model.probability(B, (A,)) == pytest.approx((2 - 1 / 3) / 3 + left * unigram)
    assert model.probability(END, (A,)) == pytest.approx((1 - 1 / 3) / 3 + left * unigram)
    assert model.probability(A, (A,)) == pytest.approx(left * unigram)
    assert model.probability(7, (A,)) == pytest.approx(left * other)
    assert model.probability(A, (7,)) == pytest.approx(unigram)  # nothing was seen behind 7


def test_perplexity_is_of_all_tokens_behind_the_start() -> None:
    model = NGrams(DOCUMENTS, order=2)
    unigram = 1.5 / 6 + 0.25 / 4
    of_start = (2 - 1 / 3) / 3 + (1 / 3) * 2 / 3 * unigram
    of_end = (1 - 1 / 3) / 3 + (1 / 3) * 2 / 3 * unigram
    assert model.perplexity([A, END]) == pytest.approx(1 / math.sqrt(of_start * of_end))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_sum_to_one_behind_any_history(order: int) -> None:
    model = NGrams([[A, B, A, A, END], [B, B, A, END], [A, END]], order)
    for history in product((A, B, 7), repeat=3):
        total = sum(model.probability(token, history) for token in (A, B, END, 7))
        assert total == pytest.approx(1.0)  # 7 stands for all others


def test_a_single_order_counts_tokens() -> None:
    model = NGrams([[A, A, A, B]], order=1)
    # Counts are 3 and 1: the discount is 1; V is 3.
    assert model.probability(A, ()) == pytest.approx(2 / 4 + 1 * 2 / 4 / 3)


def test_what_was_read_is_less_surprising_than_its_reverse() -> None:
    reference = [[1, 2, 3, 4, 5, 0], [1, 2, 3, 6, 5, 0], [2, 3, 4, 5, 6, 0]]
    model = NGrams(reference, order=3)
    assert model.perplexity([1, 2, 3, 4, 5, 0]) < model.perplexity([0, 5, 4, 3, 2, 1]) / 2


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(DataError, match="document"):
        NGrams([[]], order=2)
    with pytest.raises(DataError, match="empty"):
        NGrams([[1]], order=2).perplexity([])
