"""Families whose answer is a sentence."""

from farm.data.barnyard.family import Dice, Family
from farm.data.barnyard.words import COLOURS, ITEMS, NAMES, NUMBERS, PASSIVES, Words, spell, value


def _clauses(material: Words) -> list[Words]:
    """The parts between commas."""
    return [clause.split() for clause in " ".join(material).split(" , ")]


def _holdings(names: Words, numbers: Words, item: str) -> Words:
    """`ann has two hen , bob has five hen`."""
    clauses = zip(names, numbers, strict=True)
    return " , ".join(f"{name} has {number} {item}" for name, number in clauses).split()


class Compare(Family):
    """Who has more, or fewer. Fault: the other extreme."""

    name = "compare"
    prose = True

    def material(self, dice: Dice, difficulty: int) -> Words:
        people = 2 + difficulty // 2
        numbers = dice.sample(NUMBERS[: 5 if difficulty == 0 else 9], people)
        return _holdings(dice.sample(NAMES, people), numbers, dice.pick(ITEMS))

    def order(self, dice: Dice, material: Words) -> Words:
        return ["compare", "who", "has", dice.pick(("most", "least"))]

    def _extreme(self, material: Words, most: bool) -> Words:
        pick = max if most else min
        return pick(_clauses(material), key=lambda clause: value(clause[2]))[:3]

    def solve(self, order: Words, material: Words) -> Words:
        return self._extreme(material, order[3] == "most")

    def fault(self, order: Words, material: Words) -> Words:
        return self._extreme(material, order[3] != "most")


class Add(Family):
    """The sum. Fault: the largest number."""

    name = "add"
    prose = True

    def material(self, dice: Dice, difficulty: int) -> Words:
        people = 2 + difficulty // 2
        while True:
            numbers = [1 + int(dice.uniform() * (8 if difficulty else 5)) for _ in range(people)]
            if sum(numbers) <= (9 if difficulty else 6):
                break
        return _holdings(dice.sample(NAMES, people), [spell(n) for n in numbers], dice.pick(ITEMS))

    def order(self, dice: Dice, material: Words) -> Words:
        return ["add", "these"]

    def _numbers(self, material: Words) -> list[int]:
        return [value(clause[2]) for clause in _clauses(material)]

    def solve(self, order: Words, material: Words) -> Words:
        return [spell(sum(self._numbers(material))), material[3]]

    def fault(self, order: Words, material: Words) -> Words:
        return [spell(max(self._numbers(material))), material[3]]


class Answer(Family):
    """A colour from two to four facts. Fault: the colour of the first fact."""

    name = "answer"
    prose = True

    def material(self, dice: Dice, difficulty: int) -> Words:
        items = dice.sample(ITEMS, 2 + difficulty)
        colours = dice.sample(COLOURS, 2 + difficulty)
        facts = zip(items, colours, strict=True)
        return " , ".join(f"{item} is {colour}" for item, colour in facts).split()

    def order(self, dice: Dice, material: Words) -> Words:
        return ["answer", "what", "colour", "is", dice.pick(_clauses(material)[1:])[0]]

    def solve(self, order: Words, material: Words) -> Words:
        return next(clause for clause in _clauses(material) if clause[0] == order[4])

    def fault(self, order: Words, material: Words) -> Words:
        return [order[4], "is", material[2]]


class Rewrite(Family):
    """Active into passive voice. Fault: who does and who suffers it are only exchanged."""

    name = "rewrite"
    prose = True

    def material(self, dice: Dice, difficulty: int) -> Words:
        things = [f"the {dice.pick(COLOURS)} {item}" for item in dice.sample(ITEMS, 2)]
        tail = (things[0], f"{things[0]} on the farm", " and ".join(things))[difficulty]
        return f"{dice.pick(NAMES)} {dice.pick(tuple(PASSIVES))} {tail}".split()

    def order(self, dice: Dice, material: Words) -> Words:
        return ["rewrite", "as", "passive"]

    def solve(self, order: Words, material: Words) -> Words:
        name, verb, *thing = material
        return [*thing, "are" if "and" in thing else "is", PASSIVES[verb], "by", name]

    def fault(self, order: Words, material: Words) -> Words:
        name, verb, *thing = material
        return [*thing, verb, name]
