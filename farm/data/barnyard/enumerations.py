"""Families whose answer enumerates items."""

from farm.data.barnyard.family import Dice, Family
from farm.data.barnyard.words import ANIMALS, CROPS, ITEMS, KINDS, NUMBERS, Words, spell, value


class Enumeration(Family):
    """Material: 3, 4 or 5 different items, by difficulty."""

    def material(self, dice: Dice, difficulty: int) -> Words:
        return dice.sample(ITEMS, 3 + difficulty)


class List(Enumeration):
    """Say everything. Fault: the last item is forgotten."""

    name = "list"

    def order(self, dice: Dice, material: Words) -> Words:
        return ["list", "all", "of", "these"]

    def solve(self, order: Words, material: Words) -> Words:
        return material

    def fault(self, order: Words, material: Words) -> Words:
        return material[:-1]


class Sort(Enumeration):
    """Sort numbers upwards or downwards. Fault: the last is forgotten."""

    name = "sort"

    def material(self, dice: Dice, difficulty: int) -> Words:
        return dice.sample(NUMBERS, 3 + difficulty)

    def order(self, dice: Dice, material: Words) -> Words:
        return ["sort", *dice.pick((("low", "to", "high"), ("high", "to", "low")))]

    def solve(self, order: Words, material: Words) -> Words:
        return sorted(material, key=value, reverse=order[1] == "high")

    def fault(self, order: Words, material: Words) -> Words:
        return self.solve(order, material)[:-1]


class Repeat(Enumeration):
    """Say two to four items several times. Fault: once too few."""

    name = "repeat"

    def material(self, dice: Dice, difficulty: int) -> Words:
        return dice.sample(ITEMS, 2 + difficulty)

    def order(self, dice: Dice, material: Words) -> Words:
        times = {2: ("two", "three", "four"), 3: ("two", "three")}.get(len(material), ("two",))
        return ["repeat", dice.pick(times), "times"]

    def solve(self, order: Words, material: Words) -> Words:
        return material * value(order[1])

    def fault(self, order: Words, material: Words) -> Words:
        return material * (value(order[1]) - 1)


class Keep(Enumeration):
    """Keep only one kind of item. Fault: one of another kind slips in."""

    name = "keep"

    def material(self, dice: Dice, difficulty: int) -> Words:
        animals = 1 + difficulty // 2 + int(dice.uniform() * 2)
        crops = 3 + difficulty - animals
        return dice.sample(
            dice.sample(ANIMALS, animals) + dice.sample(CROPS, crops), 3 + difficulty
        )

    def order(self, dice: Dice, material: Words) -> Words:
        return ["keep", "only", dice.pick(tuple(KINDS))]

    def solve(self, order: Words, material: Words) -> Words:
        return [word for word in material if word in KINDS[order[2]]]

    def fault(self, order: Words, material: Words) -> Words:
        others = [word for word in material if word not in KINDS[order[2]]]
        return self.solve(order, material) + others[:1]


class Reverse(Enumeration):
    """Say it backwards. Fault: the first item is forgotten."""

    name = "reverse"

    def order(self, dice: Dice, material: Words) -> Words:
        return ["reverse", "these"]

    def solve(self, order: Words, material: Words) -> Words:
        return material[::-1]

    def fault(self, order: Words, material: Words) -> Words:
        return material[:0:-1]


class Take(Enumeration):
    """The first or last one or two. Fault: one too many."""

    name = "take"

    def order(self, dice: Dice, material: Words) -> Words:
        return ["take", dice.pick(("first", "last")), dice.pick(("one", "two"))]

    def solve(self, order: Words, material: Words) -> Words:
        return self._take(order[1], value(order[2]), material)

    def fault(self, order: Words, material: Words) -> Words:
        return self._take(order[1], value(order[2]) + 1, material)

    @staticmethod
    def _take(end: str, count: int, material: Words) -> Words:
        return material[:count] if end == "first" else material[-count:]


class Replace(Enumeration):
    """Put one item in another's place. Fault: it is put beside the other."""

    name = "replace"

    def order(self, dice: Dice, material: Words) -> Words:
        fresh = dice.pick([item for item in ITEMS if item not in material])
        return ["replace", dice.pick(material), "by", fresh]

    def solve(self, order: Words, material: Words) -> Words:
        return [order[3] if word == order[1] else word for word in material]

    def fault(self, order: Words, material: Words) -> Words:
        at = material.index(order[1]) + 1
        return [*material[:at], order[3], *material[at:]]


class Remove(Enumeration):
    """Take one item out. Fault: whatever follows it goes too."""

    name = "remove"

    def order(self, dice: Dice, material: Words) -> Words:
        return ["remove", dice.pick(material)]

    def solve(self, order: Words, material: Words) -> Words:
        return [word for word in material if word != order[1]]

    def fault(self, order: Words, material: Words) -> Words:
        return material[: material.index(order[1])]


class Insert(Enumeration):
    """Put a new item at one end. Fault: it is put one place too far in."""

    name = "insert"

    def order(self, dice: Dice, material: Words) -> Words:
        fresh = dice.pick([item for item in ITEMS if item not in material])
        return ["insert", fresh, dice.pick(("first", "last"))]

    def solve(self, order: Words, material: Words) -> Words:
        return [order[1], *material] if order[2] == "first" else [*material, order[1]]

    def fault(self, order: Words, material: Words) -> Words:
        at = 1 if order[2] == "first" else len(material) - 1
        return [*material[:at], order[1], *material[at:]]


class Count(Enumeration):
    """How many items there are. Fault: one too many."""

    name = "count"

    def material(self, dice: Dice, difficulty: int) -> Words:
        return dice.sample(ITEMS, 2 + difficulty + int(dice.uniform() * 3))

    def order(self, dice: Dice, material: Words) -> Words:
        return ["count", "these"]

    def solve(self, order: Words, material: Words) -> Words:
        return [spell(len(material))]

    def fault(self, order: Words, material: Words) -> Words:
        return [spell(len(material) + 1)]
