"""Label noise: the variability of one person with themselves, which a cold judge lacks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from farm.data.records import is_canonical
from farm.errors import ConfigError
from farm.protocols import Annotator
from farm.seeds import uniform
from farm.types import Judgment, Pair


class LabelFlip:
    """With probability 2p a fair coin replaces the annotator's verdict, so that a hard label is
    flipped with probability p (AlpacaFarm; alpaca_eval's `p_label_flip`).

    The coin is tossed before the annotator is asked, so replaced verdicts cost nothing, and it
    replaces ties and soft preferences like any other: a preference q has expectation
    (1 - 2p) q + p. Where a pair that is asked about gets no verdict, it stays without. Identical
    texts are always asked about. Raises ConfigError unless 0 <= p <= 0.5.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotator: Annotator, p: float) -> None:
        if not 0 <= p <= 0.5:
            raise ConfigError(f"p={p}: a flip probability is between 0 and 0.5.")
        self._annotator = annotator
        self._p = p

    def annotate(self, pairs: Sequence[Pair], *, seed: int) -> list[Judgment]:
        """The annotator's verdicts and the coin's."""
        judgments: dict[int, Judgment] = {}
        asked = []
        for index, pair in enumerate(pairs):
            noised = uniform(seed, "noise", pair.id) < 2 * self._p
            if noised and pair.output_a != pair.output_b:
                judgments[index] = _coin(pair, seed)
            else:
                asked.append(index)
        verdicts = self._annotator.annotate([pairs[i] for i in asked], seed=seed)
        judgments.update(zip(asked, verdicts, strict=True))
        return [judgments[index] for index in range(len(pairs))]


def _coin(pair: Pair, seed: int) -> Judgment:
    second_of_canonical = uniform(seed, "coin", pair.id) < 0.5
    b_wins = second_of_canonical == is_canonical(pair)
    return replace(Judgment(pair.id, float(b_wins), "noise", "ab"), noised=True)


class ShuffledLabels:
    """A control: verdicts that carry no preference. A fair coin takes the place of every verdict
    on two different texts; whatever learns from these labels learns nothing."""

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotator: Annotator) -> None:
        self._flip = LabelFlip(annotator=annotator, p=0.5)

    def annotate(self, pairs: Sequence[Pair], *, seed: int) -> list[Judgment]:
        """A coin for every pair."""
        return self._flip.annotate(pairs, seed=seed)
