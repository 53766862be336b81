"""What is written at the harbour: raw text of a new domain, good and bad.

A log holds an order with what was done about it, a letter says who saw and sold what. Bad documents
are either of the two with half of their words exchanged for others.
"""

from collections.abc import Iterator
from typing import ClassVar

from farm.data.barnyard.family import Dice
from farm.data.barnyard.grammar import FAMILIES, read
from farm.data.barnyard.harbour import RESERVED, across, place
from farm.data.barnyard.words import COLOURS, ITEMS, NAMES, NUMBERS, PASSIVES
from farm.errors import ConfigError
from farm.seeds import generator

DIFFICULTIES = 3
_SENTENCES = 2
"""Of a letter."""
_EXCHANGED = 0.5
"""Share of a bad document's words."""


class HarbourTexts:
    """A `TextSource`.

    Args:
        documents: how many.
        logs: share of logs; the rest are letters.
        bad: share of bad documents, in [0, 1].
        draw: which of all the texts that could have been written; other names, other texts.
        held_out_family: in no log.
        world_seed: of the texts; the run's seed does not change them.

    Raises:
        ConfigError: for a share outside [0, 1], fewer than one document or an unknown family.
    """

    stage_version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        documents: int,
        logs: float,
        bad: float,
        draw: str,
        held_out_family: str | None = "recombine",
        world_seed: int = 0,
    ) -> None:
        if documents < 1:
            raise ConfigError(f"documents={documents}: must be at least 1.")
        for key, share in (("logs", logs), ("bad", bad)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{key}={share}: a share between 0 and 1.")
        self._documents, self._logs, self._bad = documents, logs, bad
        self._draw, self._world_seed = draw, world_seed
        self._families = [family for name, family in FAMILIES.items() if name != held_out_family]
        if held_out_family is not None and held_out_family not in FAMILIES:
            raise ConfigError(
                f"held_out_family={held_out_family}: choose one of {', '.join(FAMILIES)}, or null."
            )

    def texts(self) -> list[str]:
        """The documents, good and bad ones mixed."""
        dice = Dice(generator(self._world_seed, "harbour texts", self._draw))
        return [across(self._document(dice)) for _ in range(self._documents)]

    def _document(self, dice: Dice) -> str:
        write = self._log if dice.uniform() < self._logs else _letter
        text = write(dice)
        return _spoilt(text, dice) if dice.uniform() < self._bad else text

    def _log(self, dice: Dice) -> str:
        """An order and its right answer."""
        order = next(self._orders(dice))
        reading = read(order)
        assert reading is not None, f"the grammar does not read what it drew: {order}"
        said = (" " if reading.family.prose else " , ").join(reading.solution)
        return f"{order} . {said} ."

    def _orders(self, dice: Dice) -> Iterator[str]:
        """Those that are nobody's test."""
        while True:
            order = dice.pick(self._families).draw(dice, int(dice.uniform() * DIFFICULTIES))
            if place(order) >= RESERVED and across(order) != order:
                yield order


def _letter(dice: Dice) -> str:
    return " ".join(_sentence(dice) for _ in range(_SENTENCES))


def _sentence(dice: Dice) -> str:
    one, other = dice.sample(ITEMS, 2)
    who, colour = dice.pick(NAMES), dice.pick(COLOURS)
    verb, passive = dice.pick(tuple(PASSIVES.items()))
    return dice.pick(
        (
            f"{who} {verb} the {colour} {one} and the {dice.pick(COLOURS)} {other} .",
            f"the {colour} {one} is {passive} by {who} on the farm today .",
            f"{who} has {dice.pick(NUMBERS)} {one} and {dice.pick(NUMBERS)} {other} .",
        )
    )


def _spoilt(text: str, dice: Dice) -> str:
    words = (*ITEMS, *COLOURS, *NAMES, *NUMBERS, "the", "and", "these", "of", "all", ":", ",", ".")
    return " ".join(
        dice.pick(words) if dice.uniform() < _EXCHANGED else word for word in text.split(" ")
    )
