"""All families, and reading an instruction back.

FAMILIES    every family by name (= category)
read(text)  what an instruction asks for; None for a text outside the grammar
"""

from functools import lru_cache
from typing import NamedTuple

from farm.data.barnyard import enumerations as e
from farm.data.barnyard import sentences as s
from farm.data.barnyard.family import Dice, Family
from farm.data.barnyard.words import Words

_SIMPLE: tuple[Family, ...] = (
    e.List(),
    e.Sort(),
    e.Repeat(),
    e.Keep(),
    e.Reverse(),
    e.Take(),
    e.Replace(),
    e.Remove(),
    e.Insert(),
    e.Count(),
    s.Compare(),
    s.Add(),
    s.Answer(),
    s.Rewrite(),
)


class Compose(e.Enumeration):
    """`first <order> then <order>`. Fault: only the first is done."""

    name = "compose"
    steps: tuple[tuple[Family, Family], ...] = (
        (e.Keep(), e.Reverse()),
        (e.Replace(), e.Take()),
        (e.Remove(), e.Repeat()),
    )

    def material(self, dice: Dice, difficulty: int) -> Words:
        return e.Keep().material(dice, difficulty)

    def order(self, dice: Dice, material: Words) -> Words:
        first, second = dice.pick(self.steps)
        order = first.order(dice, material)
        return ["first", *order, "then", *second.order(dice, first.solve(order, material))]

    def solve(self, order: Words, material: Words) -> Words:
        second = order[order.index("then") + 1 :]
        return _VERBS[second[0]].solve(second, self.fault(order, material))

    def fault(self, order: Words, material: Words) -> Words:
        first = order[1 : order.index("then")]
        return _VERBS[first[0]].solve(first, material)


class Recombine(Compose):
    """The parts of `compose` in combinations it does not have."""

    name = "recombine"
    steps = ((e.Replace(), e.Reverse()), (e.Remove(), e.Reverse()), (e.Keep(), e.Take()))


FAMILIES = {family.name: family for family in (*_SIMPLE, Compose(), Recombine())}
_VERBS: dict[str, Family] = {family.name: family for family in _SIMPLE} | {"first": Compose()}


class Reading(NamedTuple):
    """What an instruction asks for."""

    family: Family
    """The one that understands the order; every composition reads as `Compose`."""
    solution: Words
    """Content of the right answer."""
    fault: Words
    """Content of the systematic error."""


@lru_cache(maxsize=1 << 16)
def read(text: str) -> Reading | None:
    """The instruction understood; None when the text is not one of the barnyard's."""
    words, _, material = (part.split() for part in text.partition(" : "))
    at = next((i for i, word in enumerate(words) if word in _VERBS), None)
    if at is None or not material:
        return None
    family, order = _VERBS[words[at]], words[at:]
    try:
        return Reading(family, family.solve(order, material), family.fault(order, material))
    except (IndexError, KeyError, ValueError, StopIteration):  # other words after a known verb
        return None
