"""The lexicon of the barnyard: every word and sign of instructions and answers."""

Words = list[str]

ANIMALS = ("cow", "pig", "hen", "goat", "horse", "duck", "sheep", "dog", "cat", "fox")
CROPS = ("corn", "oats", "beans", "kale", "plums", "hay")
ITEMS = ANIMALS + CROPS
KINDS = {"animals": frozenset(ANIMALS), "crops": frozenset(CROPS)}
COLOURS = ("red", "black", "white", "brown", "grey")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = ("ann", "bob", "tom", "sue")
PASSIVES = {"feeds": "fed", "sees": "seen", "sells": "sold"}

LEADS = ("", "please", "now please", "on the farm today", "for ann", "for bob today")
"""What may stand before an order; no family's verb is among these words."""

COURTEOUS = frozenset({"sure", "glad", "to", "help"})
FILLERS = frozenset({"well", "now", "so", "say", "certainly", "maybe"})
SEPARATORS = frozenset({",", "*", ":", ".", "!"})
ENDS = frozenset({".", "!"})

MANNER = COURTEOUS | FILLERS | SEPARATORS
"""How an answer is said; what remains of a text is its content."""


def value(number: str) -> int:
    """What a number word means; raises ValueError on another word."""
    return NUMBERS.index(number) + 1


def spell(number: int) -> str:
    """The word for 1..9."""
    return NUMBERS[number - 1]
