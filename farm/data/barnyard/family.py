"""What an instruction family is, and the seeded dice its instructions are drawn with.

An instruction reads `<lead> <order> : <material>`; the order's first word is the family's verb.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

import numpy as np

from farm.data.barnyard.words import LEADS, Words

T = TypeVar("T")


class Dice:
    """Uniform draws from one seeded stream, fetched in blocks because single draws are slow."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._block: Iterator[float] = iter(())

    def uniform(self) -> float:
        """A number in [0, 1)."""
        for number in self._block:
            return number
        self._block = iter(self._generator.random(8192).tolist())
        return next(self._block)

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[int(self.uniform() * len(choices))]

    def sample(self, choices: Sequence[T], k: int) -> list[T]:
        """k different ones of the choices, in random order."""
        rest = list(choices)
        return [rest.pop(int(self.uniform() * len(rest))) for _ in range(k)]


class Family(ABC):
    """One kind of instruction: how it is drawn, what is right, and how demonstrators go wrong."""

    name: ClassVar[str]
    """The verb of its orders, unless it is a composition; also the instructions' category."""
    prose: ClassVar[bool] = False
    """Whether the answer is a sentence; otherwise it is an enumeration."""

    @abstractmethod
    def material(self, dice: Dice, difficulty: int) -> Words:
        """What the order works on; difficulty is 0, 1 or 2."""

    @abstractmethod
    def order(self, dice: Dice, material: Words) -> Words:
        """What is to be done with the material."""

    @abstractmethod
    def solve(self, order: Words, material: Words) -> Words:
        """The content of the right answer."""

    @abstractmethod
    def fault(self, order: Words, material: Words) -> Words:
        """The content of this family's systematic error."""

    def draw(self, dice: Dice, difficulty: int) -> str:
        """An instruction whose right answer differs from the systematic error; neither is empty."""
        while True:
            material = self.material(dice, difficulty)
            order = self.order(dice, material)
            solution, fault = self.solve(order, material), self.fault(order, material)
            if solution and fault and solution != fault:
                lead = dice.pick(LEADS).split()
                return " ".join([*lead, *order, ":", *material])
