"""What the families ask, worked out by hand, and that each is large enough."""

import pytest

from farm.data.barnyard.family import Dice
from farm.data.barnyard.grammar import FAMILIES, read
from farm.seeds import generator

# Instruction, content of the right answer, content of the systematic error.
CASES = {
    "list": ("please list all of these : cow hen hay", "cow hen hay", "cow hen"),
    "sort": ("sort high to low : two nine five", "nine five two", "nine five"),
    "repeat": ("repeat three times : cow hay", "cow hay cow hay cow hay", "cow hay cow hay"),
    "keep": ("for ann keep only crops : cow hay corn", "hay corn", "hay corn cow"),
    "reverse": ("reverse these : cow hen hay", "hay hen cow", "hay hen"),
    "take": ("take last two : cow hen hay fox", "hay fox", "hen hay fox"),
    "replace": ("replace hen by fox : cow hen hay", "cow fox hay", "cow hen fox hay"),
    "remove": ("remove hen : cow hen hay", "cow hay", "cow"),
    "insert": ("insert fox first : cow hen", "fox cow hen", "cow fox hen"),
    "count": ("count these : cow hen hay", "three", "four"),
    "compare": ("compare who has most : ann two , tom six", "tom has six", "tom has two"),
    "add": ("add these : two hen and six hen", "eight hen", "six hen"),
    "answer": ("answer what colour : hen red , hay grey and hay", "grey", "hay"),
    "rewrite": (
        "rewrite as passive : sue sees the red hen and the grey cow",
        "the red hen and the grey cow are seen by sue",
        "the red hen and the grey cow sees sue",
    ),
    "compose": ("first keep only animals then reverse these : cow hay hen", "hen cow", "cow hen"),
    "recombine": (
        "first replace cow by fox then reverse these : cow hay hen",
        "hen hay fox",
        "fox hay hen",
    ),
}


@pytest.mark.parametrize("family", CASES)
def test_solution_and_systematic_error(family: str) -> None:
    text, solution, fault = CASES[family]
    reading = read(text)
    assert reading is not None
    assert (" ".join(reading.solution), " ".join(reading.fault)) == (solution, fault)


def test_every_family_has_a_case() -> None:
    assert set(CASES) == set(FAMILIES)
    assert len(FAMILIES) >= 13


@pytest.mark.parametrize(
    "text", ["", "sing a song", "sort these", "sort low to high : cow hen", "take last cow : hen"]
)
def test_other_texts_are_not_read(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_thousands_of_different_instructions(family: str) -> None:
    dice = Dice(generator(0, "test", family))
    texts = {FAMILIES[family].draw(dice, difficulty) for difficulty in (0, 1, 2) * 1500}
    assert len(texts) > 2500
    for text in texts:
        reading = read(text)
        assert reading is not None and reading.solution and reading.fault
        assert reading.solution != reading.fault
