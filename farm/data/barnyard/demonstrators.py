"""Who wrote the demonstrations: people of mixed skill and manner.

Their faults are modal. Of the answers to easy instructions most are right, of those to hard
instructions most show the family's one systematic error, so that even a policy that always says
what it deems likeliest is wrong on much of the barnyard; only the slips (one wrong word) are
random. An error needs much the same skill as the right answer, and heeds the same words of the
order: one that did the opposite would leave those words without meaning for whoever learns from a
mixture of both. Nobody's usual manner is the best one either: few are courteous.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farm.data.barnyard.family import Dice, Family
from farm.data.barnyard.grammar import Reading
from farm.data.barnyard.words import ITEMS, Words


@dataclass(frozen=True)
class Demonstrator:
    """One writer's habits; the shares of openings and of closings sum to 1."""

    share: float
    """Of all demonstrations."""
    skill: float
    """Added to the share of right answers."""
    bullets: float
    """Share of enumerations written as a bulleted list."""
    openings: Mapping[str, float]
    closings: Mapping[str, float]


DEMONSTRATORS: Mapping[str, Demonstrator] = {
    "terse": Demonstrator(0.25, 0.06, 0.0, {"": 1.0}, {"": 0.7, ".": 0.3}),
    "plain": Demonstrator(0.30, 0.0, 0.1, {"": 0.8, "maybe ,": 0.2}, {".": 1.0}),
    "chatty": Demonstrator(
        0.20,
        -0.06,
        0.1,
        {"well , now ,": 0.5, "well , well ,": 0.2, "sure ,": 0.3},
        {". so to say .": 0.5, ".": 0.3, ". glad to help !": 0.2},
    ),
    "orderly": Demonstrator(0.15, 0.0, 0.9, {"certainly :": 0.6, "": 0.4}, {"": 0.3, ".": 0.7}),
    "kind": Demonstrator(
        0.10, -0.03, 0.1, {"sure ,": 0.8, "": 0.2}, {". glad to help !": 0.7, ".": 0.3}
    ),
}

SKILL_SPREAD = max(abs(d.skill) for d in DEMONSTRATORS.values())
"""How far the best and worst demonstrator are from the average, in shares of right answers."""


def _weighted(dice: Dice, shares: Mapping[str, float]) -> str:
    point = dice.uniform()
    for choice, share in shares.items():
        point -= share
        if point < 0:
            return choice
    return list(shares)[-1]


def _slip(content: Words, dice: Dice) -> Words:
    """One word exchanged for a random item."""
    at = int(dice.uniform() * len(content))
    return [*content[:at], dice.pick(ITEMS), *content[at + 1 :]]


def _phrase(content: Words, family: Family, bullets: bool) -> str:
    if family.prose:
        return " ".join(content)
    return "* " + " * ".join(content) if bullets else " , ".join(content)


class Demonstrators:
    """Writes demonstrations.

    Args:
        correct: share of right answers at difficulty 0, 1 and 2.
        slips: share of answers with one random word; what remains is the systematic error.
    """

    def __init__(self, correct: Sequence[float], slips: float) -> None:
        self._correct = correct
        self._slips = slips
        self._shares = {name: d.share for name, d in DEMONSTRATORS.items()}

    def answer(self, reading: Reading, difficulty: int, dice: Dice) -> str:
        """One demonstration."""
        who = DEMONSTRATORS[_weighted(dice, self._shares)]
        content = self._content(reading, self._correct[difficulty] + who.skill, dice)
        body = _phrase(content, reading.family, dice.uniform() < who.bullets)
        opening, closing = _weighted(dice, who.openings), _weighted(dice, who.closings)
        return " ".join(part for part in (opening, body, closing) if part)

    def _content(self, reading: Reading, correct: float, dice: Dice) -> Words:
        point = dice.uniform()
        if point < self._slips:
            return _slip(reading.solution, dice)
        return reading.solution if point < self._slips + correct else reading.fault
