"""Families whose answer is a sentence."""

from farm.data.barnyard.family import Dice, Family
from farm.data.barnyard.words import COLOURS, ITEMS, NAMES, NUMBERS, PASSIVES, Words, spell, value


def _clauses(material: Words) -> list[Words]:
    """The parts between commas."""
    return [clause.split() for clause in " ".join(material).split(" , ")]


class Compare(Family):
    """Who has most. Fault: the right one, but the least number."""

    name = "compare"
    prose = True

    def material(self, dice: Dice, difficulty: int) -> Words:
        people = 2 + difficulty // 2
        numbers = dice.sample(NUMBERS[: 6 if difficulty == 0 else 9], people)
        clauses = zip(dice.sample(NAMES, people), numbers, strict=True)
        return " , ".join(f"{name} {number}" for name, number in clauses).split()

    def order(self, dice: Dice, material: Words) -> Words:
        return ["compare", "who", "has", "most"]

    def solve(self, order: Words, material: Words) -> Words:
        name, number = max(_clauses(material), key=lambda clause: value(clause[1]))
        return [name, "has", number]

    def fault(self, order: Words, material: Words) -> Words:
        name, has, _ = self.solve(order, material)
        return [name, has, min((number for _, number in _clauses(material)), key=value)]


class Add(Family):
    """The sum of two or three numbers. Fault: the largest of them."""

    name = "add"
    prose = True

    def material(self, dice: Dice, difficulty: int) -> Words:
        addends = 2 + difficulty // 2
        while True:
            numbers = [1 + int(dice.uniform() * 8) for _ in range(addends)]
            if sum(numbers) <= (9 if difficulty else 6):
                break
        item = dice.pick(ITEMS)
        return " and ".join(f"{spell(number)} {item}" for number in numbers).split()

    def order(self, dice: Dice, material: Words) -> Words:
        return ["add", "these"]

    def solve(self, order: Words, material: Words) -> Words:
        return [spell(sum(map(value, material[::3]))), material[1]]

    def fault(self, order: Words, material: Words) -> Words:
        return [spell(max(map(value, material[::3]))), material[1]]


class Answer(Family):
    """A colour from two to four facts. Fault: the item is said, not its colour."""

    name = "answer"
    prose = True

    def material(self, dice: Dice, difficulty: int) -> Words:
        items = dice.sample(ITEMS, 2 + difficulty)
        colours = dice.sample(COLOURS, 2 + difficulty)
        facts = zip(items, colours, strict=True)
        listed = " , ".join(f"{item} {colour}" for item, colour in facts)
        return f"{listed} and {dice.pick(items)}".split()

    def order(self, dice: Dice, material: Words) -> Words:
        return ["answer", "what", "colour"]

    def solve(self, order: Words, material: Words) -> Words:
        *facts, _, item = material
        return [facts[facts.index(item) + 1]]

    def fault(self, order: Words, material: Words) -> Words:
        return [material[-1]]


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
