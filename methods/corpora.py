"""What continual pre-training reads, pass by pass (Guo et al. 2024, arXiv 2406.14833, section 4).

A full pass shows the skill that is to be gained falling first, while the new domain's perplexity
falls all along. The paper's three strategies against it: several passes over a part (`Subset`), a
part chosen for quality (`QualitySubset`), and the original distribution mixed in (`FixedMixture`,
`RedrawnMixture`); its recipe is all of them, `RedrawnMixture` of a `QualitySubset`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import ClassVar, NamedTuple, Protocol

from farm.checks import require, require_at_least
from farm.errors import DataError
from farm.seeds import Item, generator

Documents = Sequence[Sequence[int]]
"""Token ids, each document's end with it."""


class Library(NamedTuple):
    """What there is to choose from."""

    domain: Documents
    """The new domain's."""
    original: Documents
    """What the policy has learned from, or the like of it."""
    reference: Documents
    """Of the new domain, known to be good; empty where none are known."""


class Corpus(Protocol):
    """A strategy."""

    def passes(self, library: Library, *, seed: int) -> Iterator[Documents]:
        """The documents of one pass after the other, without end, in any order. Raises DataError
        where the library lacks what it needs."""
        ...


@dataclass(frozen=True, kw_only=True)
class FullPass:
    """All of the new domain, in each pass."""

    stage_version: ClassVar[int] = 1

    def passes(self, library: Library, *, seed: int) -> Iterator[Documents]:
        """The whole, again and again."""
        return repeat(library.domain)


@dataclass(frozen=True, kw_only=True)
class OriginalOnly:
    """Nothing of the new domain: a control, which shows what the learning rate does by itself."""

    stage_version: ClassVar[int] = 1

    def passes(self, library: Library, *, seed: int) -> Iterator[Documents]:
        """All of the original distribution, again and again."""
        return repeat(library.original)


@dataclass(frozen=True, kw_only=True)
class Subset:
    """The same random documents in each pass (strategy I). Raises `ConfigError`."""

    stage_version: ClassVar[int] = 1

    share: float = 0.1
    """Of the new domain's tokens."""

    def __post_init__(self) -> None:
        _check_share("corpus.share", self.share)

    def passes(self, library: Library, *, seed: int) -> Iterator[Documents]:
        """The part, again and again."""
        tokens = self.share * _tokens(library.domain)
        return repeat(_some(library.domain, tokens, seed, "subset"))


@dataclass(frozen=True, kw_only=True)
class QualitySubset:
    """In each pass the documents that look most like the reference (strategy II): those of the
    lowest perplexity to a model of its n-grams.

    N-grams are of the policy's own tokens; the paper's, by KenLM, are of words. Raises
    `ConfigError`.
    """

    stage_version: ClassVar[int] = 1

    share: float = 0.1
    """Of the new domain's tokens."""
    order: int = 3
    """Tokens of the longest n-grams."""

    def __post_init__(self) -> None:
        _check_share("corpus.share", self.share)
        require_at_least("corpus.order", self.order, 1)

    def passes(self, library: Library, *, seed: int) -> Iterator[Documents]:
        """The part, again and again."""
        from farm.data.ngrams import NGrams

        if not library.reference:
            raise DataError(
                "choosing for quality needs texts of the domain that are known to be good: give "
                "method.reference a source."
            )
        model = NGrams(library.reference, self.order)
        ranked = sorted(library.domain, key=model.perplexity)
        return repeat(_first(ranked, self.share * _tokens(library.domain)))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Passes as large as those of `domain`, some of whose documents give way to the original
    distribution's (strategy III). Raises `ConfigError`."""

    stage_version: ClassVar[int] = 1

    domain: Corpus = field(default_factory=FullPass)
    """Where the new domain's documents come from."""
    original_share: float = 0.18
    """Of a pass's tokens."""

    def __post_init__(self) -> None:
        _check_share("corpus.original_share", self.original_share)

    def _mixed(self, documents: Documents, library: Library, seed: int, draw: int) -> Documents:
        """A pass like `documents`; what is of the original distribution is so in every draw."""
        size = _tokens(documents)
        wanted, known = self.original_share * size, _tokens(library.original)
        if wanted > known:
            raise DataError(
                f"a mixture with corpus.original_share={self.original_share} needs {wanted:.0f} "
                f"tokens of the original distribution, which has {known}. Give more of it, or "
                "make the pass or the share smaller."
            )
        return [
            *_some(documents, size - wanted, seed, "domain", draw),
            *_some(library.original, wanted, seed, "original"),
        ]


@dataclass(frozen=True, kw_only=True)
class FixedMixture(Mixture):
    """The same documents in each pass."""

    def passes(self, library: Library, *, seed: int) -> Iterator[Documents]:
        """One draw, again and again."""
        first = next(self.domain.passes(library, seed=seed))
        return repeat(self._mixed(first, library, seed, draw=0))


@dataclass(frozen=True, kw_only=True)
class RedrawnMixture(Mixture):
    """The new domain's documents are drawn anew for each pass."""

    def passes(self, library: Library, *, seed: int) -> Iterator[Documents]:
        """Draw after draw."""
        for draw, documents in enumerate(self.domain.passes(library, seed=seed)):
            yield self._mixed(documents, library, seed, draw)


def windows(passes: Iterator[Documents], size: int, *, seed: int) -> Iterator[Documents]:
    """Windows of `size` tokens, of documents and of what did not fit into the window before; each
    pass's documents in a random order."""
    window: list[Sequence[int]] = []
    room = size
    for document in _shuffled(passes, seed):
        rest = document
        while rest:
            window.append(rest[:room])
            rest, room = rest[room:], room - len(window[-1])
            if not room:
                yield window
                window, room = [], size


def _shuffled(passes: Iterator[Documents], seed: int) -> Iterator[Sequence[int]]:
    for number, documents in enumerate(passes):
        for place in generator(seed, "pass", number).permutation(len(documents)):
            yield documents[place]


def _check_share(key: str, share: float) -> None:
    require(key, share, "above 0, at most 1", 0 < share <= 1)


def _tokens(documents: Documents) -> int:
    return sum(map(len, documents))


def _some(documents: Documents, tokens: float, seed: int, *of: Item) -> Documents:
    """Random documents that have about so many tokens together."""
    order = generator(seed, "documents", *of).permutation(len(documents))
    return _first([documents[place] for place in order], tokens)


def _first(documents: Documents, tokens: float) -> Documents:
    """The first documents up to the one that brings their sum closest to `tokens`, at least one."""
    chosen: list[Sequence[int]] = []
    left = tokens
    for document in documents:
        if chosen and left < len(document) / 2:
            break
        chosen.append(document)
        left -= len(document)
    return chosen
