"""What each strategy reads, on documents whose ids tell where they are from."""

from collections import Counter
from itertools import islice

import pytest

from farm.errors import ConfigError, DataError
from methods.corpora import (
    Corpus,
    FixedMixture,
    FullPass,
    Library,
    OriginalOnly,
    QualitySubset,
    RedrawnMixture,
    Subset,
    windows,
)

NEW = [[i, 500, 501] for i in range(60)]
OLD = [[100 + i] * 4 for i in range(60)]
GOOD = [[i, 1, 2, 3, 0] for i in range(200, 220)]
"""The reference, and what is like it; `NEW` is not."""
LIBRARY = Library(domain=NEW, original=OLD, reference=GOOD)


def passes(corpus: Corpus, count: int = 3, library: Library = LIBRARY) -> list[list[list[int]]]:
    return [list(map(list, one)) for one in islice(corpus.passes(library, seed=4), count)]


def tokens(documents: list[list[int]]) -> int:
    return sum(map(len, documents))


def test_a_full_pass_reads_everything_and_a_control_only_what_is_old() -> None:
    assert passes(FullPass()) == [NEW] * 3
    assert passes(OriginalOnly()) == [OLD] * 3


def test_a_subset_is_the_same_in_each_pass_and_as_large_as_asked() -> None:
    first, *others = passes(Subset(share=0.25))
    assert others == [first] * 2
    assert tokens(first) == 45
    assert len({document[0] for document in first}) == 15
    assert first != NEW[:15]  # random, not what comes first
    other = next(Subset(share=0.25).passes(LIBRARY, seed=5))
    assert {document[0] for document in other} != {document[0] for document in first}


def test_quality_is_what_looks_like_the_reference() -> None:
    alike = [[i, 1, 2, 3, 0] for i in range(300, 310)]
    backwards = [[0, 3, 2, 1, i] for i in range(300, 310)]
    library = Library(domain=[*backwards, *alike], original=OLD, reference=GOOD)
    first, again = passes(QualitySubset(share=0.5), 2, library)
    assert sorted(first) == alike
    assert again == first
    with pytest.raises(DataError, match=r"method\.reference"):
        passes(QualitySubset(), 1, library._replace(reference=[]))


def test_a_fixed_mixture_gives_up_a_share_for_the_original_distribution() -> None:
    first, *others = passes(FixedMixture(original_share=0.2))
    old = [document for document in first if document[0] >= 100]
    assert others == [first] * 2
    assert tokens(first) == pytest.approx(tokens(NEW), abs=4)
    assert tokens(old) == pytest.approx(0.2 * tokens(NEW), abs=2)


def test_a_redrawn_mixture_draws_the_new_domain_anew() -> None:
    found = passes(RedrawnMixture(original_share=0.5), 4)
    new = [frozenset(d[0] for d in one if d[0] < 100) for one in found]
    old = [frozenset(d[0] for d in one if d[0] >= 100) for one in found]
    assert len(set(new)) == 4
    assert len(set(old)) == 1
    often = Counter(place for one in new for place in one)
    assert len(often) > 45  # half in each of four passes: 15 of 16 in all


def test_strategies_compose() -> None:
    recipe = RedrawnMixture(domain=Subset(share=0.5), original_share=0.25)
    of_half = {document[0] for document in passes(Subset(share=0.5), 1)[0]}
    found = passes(recipe)
    assert all(document[0] in of_half for one in found for document in one if document[0] < 100)
    assert all(tokens(one) == pytest.approx(90, abs=4) for one in found)


def test_too_little_of_the_original_distribution_is_said() -> None:
    with pytest.raises(
        DataError, match="needs 90 tokens of the original distribution, which has 8"
    ):
        passes(FixedMixture(original_share=0.5), 1, LIBRARY._replace(original=OLD[:2]))


def test_windows_are_full_and_hold_pass_after_pass_each_in_another_order() -> None:
    def drawn() -> list[list[list[int]]]:
        every = windows(FullPass().passes(LIBRARY, seed=4), 20, seed=4)
        return [list(map(list, window)) for window in islice(every, 18)]

    found = drawn()
    assert all(tokens(window) == 20 for window in found)
    ids = [i for window in found for part in window for i in part]
    one, other = ids[: tokens(NEW)], ids[tokens(NEW) :]
    assert sorted(one) == sorted(other) == sorted(i for document in NEW for i in document)
    assert one != other
    assert all(one[i + 1] == 500 for i in range(0, len(one), 3))  # laid end to end
    assert [len(part) for part in found[0]] == [3] * 6 + [2]
    assert [len(part) for part in found[1]] == [1] + [3] * 6 + [1]  # what did not fit comes first
    assert drawn() == found


@pytest.mark.parametrize(
    ("corpus", "keys", "named"),
    [
        (Subset, {"share": 0.0}, "corpus.share"),
        (QualitySubset, {"share": 1.5}, "corpus.share"),
        (QualitySubset, {"order": 0}, "corpus.order"),
        (RedrawnMixture, {"original_share": 2.0}, "corpus.original_share"),
    ],
)
def test_wrong_values_name_their_key(corpus: type, keys: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        corpus(**keys)
