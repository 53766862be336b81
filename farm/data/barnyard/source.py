"""`data=barnyard`: instructions and demonstrations generated from the grammar.

Barnyard(...).load() -> {"sft": [...], "preference": [...], ...}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from farm.data.barnyard.demonstrators import SKILL_SPREAD, Demonstrators
from farm.data.barnyard.family import Dice
from farm.data.barnyard.grammar import FAMILIES, read
from farm.data.records import user_instruction
from farm.errors import ConfigError
from farm.seeds import generator
from farm.types import SPLITS, Instruction, SplitName

DIFFICULTIES = 3


def _check_sizes(sizes: Mapping[str, int]) -> None:
    for key, size in sizes.items():
        if size < 0:
            raise ConfigError(f"data.{key}={size}: a number of instructions, 0 or more.")


def _check_family(name: str | None) -> None:
    if name is not None and name not in FAMILIES:
        raise ConfigError(
            f"data.held_out_family={name}: there is no such family; "
            f"choose one of {', '.join(FAMILIES)}, or null."
        )


def _check_shares(correct: Sequence[float], slips: float) -> None:
    if not 0 <= slips <= 0.5:
        raise ConfigError(f"data.slips={slips}: a share between 0 and 0.5.")
    low, high = SKILL_SPREAD, 1 - slips - SKILL_SPREAD
    if len(correct) != DIFFICULTIES or not all(low <= share <= high for share in correct):
        raise ConfigError(
            f"data.correct={list(correct)}: needs {DIFFICULTIES} shares from {low:.2f} to "
            f"{high:.2f}, 1 - slips less the spread of the demonstrators' skill."
        )


class Barnyard:
    """An instruction-following world with a known utility; no download, under four seconds.

    Families and difficulties take turns, so every split is balanced. No instruction occurs
    twice, and the evaluation split is drawn first: the sizes of the others do not change it.

    Args:
        sft, preference, unlabeled, validation, evaluation: instructions per split.
        held_out: instructions of the held-out family, added to `evaluation`.
        held_out_family: occurs nowhere else; None leaves no family out.
        correct: share of right demonstrations at difficulty 0, 1 and 2.
        slips: share of demonstrations with one random word; the rest is the systematic error.
        world_seed: of the instructions and demonstrations; the run's seed does not change them.

    Raises:
        ConfigError: for an unknown family, a share outside [0, 1] or a size that the grammar
            cannot fill.
    """

    stage_version: ClassVar[int] = 1

    def __init__(  # noqa: PLR0913 - one keyword per key of the yaml
        self,
        *,
        sft: int = 16_000,
        preference: int = 11_000,
        unlabeled: int = 20_000,
        validation: int = 512,
        evaluation: int = 805,
        held_out: int = 195,
        held_out_family: str | None = "recombine",
        correct: Sequence[float] = (0.70, 0.55, 0.40),
        slips: float = 0.03,
        world_seed: int = 0,
    ) -> None:
        self._sizes: dict[SplitName, int] = {
            "evaluation": evaluation,
            "validation": validation,
            "sft": sft,
            "preference": preference,
            "unlabeled": unlabeled,
        }
        _check_sizes({str(split): size for split, size in self._sizes.items()})
        _check_sizes({"held_out": held_out})
        _check_family(held_out_family)
        _check_shares(correct, slips)
        self._held_out = held_out
        self._held_out_family = held_out_family
        self._demonstrators = Demonstrators(correct, slips)
        self._world_seed = world_seed

    def load(self) -> dict[SplitName, list[Instruction]]:
        """All five splits."""
        seen: set[str] = set()
        taught = [name for name in FAMILIES if name != self._held_out_family]
        held_out = [self._held_out_family] if self._held_out_family else []
        extra = self._draw("held_out", held_out, self._held_out if held_out else 0, seen)
        splits = {s: self._draw(s, taught, n, seen) for s, n in self._sizes.items()}
        splits["evaluation"] += extra
        return {split: splits[split] for split in SPLITS}

    def _draw(
        self, split: str, families: Sequence[str], size: int, seen: set[str]
    ) -> list[Instruction]:
        dice = Dice(generator(self._world_seed, "barnyard", split))
        cells = [(name, difficulty) for difficulty in range(DIFFICULTIES) for name in families]
        return [self._instruction(*cells[i % len(cells)], dice, seen) for i in range(size)]

    def _instruction(self, family: str, difficulty: int, dice: Dice, seen: set[str]) -> Instruction:
        text = self._fresh(family, difficulty, dice, seen)
        reading = read(text)
        assert reading is not None, f"the grammar does not read what it drew: {text}"
        demonstration = self._demonstrators.answer(reading, difficulty, dice)
        return user_instruction(text, demonstration, family, "barnyard")

    def _fresh(self, family: str, difficulty: int, dice: Dice, seen: set[str]) -> str:
        for text in self._attempts(family, difficulty, dice):
            if text not in seen:
                seen.add(text)
                return text
        raise ConfigError(
            f"data: the family {family!r} has no more instructions of difficulty {difficulty} "
            "for splits of these sizes; make them smaller"
        )

    @staticmethod
    def _attempts(family: str, difficulty: int, dice: Dice) -> Iterator[str]:
        for _ in range(1000):
            yield FAMILIES[family].draw(dice, difficulty)
