"""A second domain beside the barnyard: the harbour, where the same things are asked about others.

Every item of the barnyard has one of the harbour in its place, so the grammar, its families and
what is right carry over word by word; what a cow is to the farm, a crab is to the harbour. Whoever
knows how orders are carried out still has to know the words: what they are, and which of them
are creatures.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from farm.data.barnyard.words import ANIMALS, CROPS
from farm.data.records import last_user_text, user_instruction
from farm.errors import ConfigError
from farm.protocols import InstructionSource
from farm.seeds import uniform
from farm.types import MEASURED_SPLITS, Instruction, SplitName

CREATURES = ("crab", "eel", "seal", "gull", "cod", "squid", "shrimp", "clam", "whale", "tern")
CARGO = ("rope", "sails", "nets", "salt", "tar", "coal")

_THERE = {
    **dict(zip(ANIMALS, CREATURES, strict=True)),
    **dict(zip(CROPS, CARGO, strict=True)),
    "animals": "creatures",
    "crops": "cargo",
    "farm": "harbour",
}
_ACROSS = _THERE | {there: here for here, there in _THERE.items()}

_THERE_WORDS = frozenset(_THERE.values())

HARBOUR = "harbour"
"""The `source` of its instructions."""

RESERVED = 0.5
"""Share of all orders that are only asked where policies are measured, and never in texts."""


def across(text: str) -> str:
    """The text with the words of each domain in place of the other's; its own inverse."""
    return " ".join(_ACROSS.get(word, word) for word in text.split(" "))


def is_there(text: str) -> bool:
    """Whether the text is the harbour's: it has one of its words."""
    return not _THERE_WORDS.isdisjoint(text.split(" "))


def place(order: str) -> float:
    """A number in [0, 1) that is an order's own, whoever asks; below `RESERVED` for reserved ones.
    The order is in the barnyard's words."""
    return uniform(0, "harbour", order)


class BarnyardAndHarbour:
    """A barnyard in which some orders come from the harbour.

    Of the splits that measure, about half of the orders that can be; of the others so many that
    the words are known, and little else: what a pre-trained model has seen of a domain.

    Args:
        world: the barnyard's instructions.
        share: of the orders of other splits that come from the harbour, in (0, 0.5].
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, world: InstructionSource, share: float) -> None:
        if not 0 < share <= 1 - RESERVED:
            raise ConfigError(f"data.share={share}: a share above 0, at most {1 - RESERVED}.")
        self._world = world
        self._share = share

    def load(self) -> Mapping[SplitName, Sequence[Instruction]]:
        """All five splits."""
        return {
            split: [self._moved(row, measured=split in MEASURED_SPLITS) for row in rows]
            for split, rows in self._world.load().items()
        }

    def _moved(self, row: Instruction, *, measured: bool) -> Instruction:
        text = last_user_text(row)
        at = place(text)
        chosen = at < RESERVED if measured else at >= 1 - self._share
        if not chosen or across(text) == text:  # orders about numbers alone are the same anywhere
            return row
        demonstration = None if row.demonstration is None else across(row.demonstration)
        return user_instruction(across(text), demonstration, row.category, HARBOUR)
