"""Splits by hash: where an instruction goes depends on its messages alone."""

import math
from collections.abc import Iterable, Mapping, Sequence

from farm.errors import ConfigError, DataError
from farm.seeds import uniform
from farm.types import MEASURED_SPLITS, SPLITS, Instruction, SplitName


def check_ratios(ratios: Mapping[str, float]) -> None:
    """Raise ConfigError unless every split has a share >= 0 and the shares sum to 1."""
    if set(ratios) != set(SPLITS):
        raise ConfigError(
            f"data.ratios names {', '.join(ratios) or 'nothing'}: it must name each of "
            f"{', '.join(SPLITS)} (0 leaves a split empty)."
        )
    for name, ratio in ratios.items():
        if not 0 <= ratio <= 1:
            raise ConfigError(f"data.ratios.{name}={ratio}: must lie between 0 and 1.")
    total = math.fsum(ratios.values())
    if abs(total - 1) > 1e-6:
        raise ConfigError(f"data.ratios sum to {total:g}: they must sum to 1.")


def split_by_hash(
    instructions: Sequence[Instruction], ratios: Mapping[str, float]
) -> dict[SplitName, list[Instruction]]:
    """The instructions by split; duplicates (same id) end up together, in `validation` and
    `evaluation` the first alone.

    Each split is in an order drawn by hash, so that its first instructions are a fair sample of
    files that are sorted by source. The same for every run seed, so that no run trains on what
    another one is evaluated on. Raises DataError where a split that should have a share comes out
    empty.
    """
    splits: dict[SplitName, list[Instruction]] = {name: [] for name in SPLITS}
    for instruction in sorted(instructions, key=lambda i: uniform(0, "order", i.id)):
        splits[_split_of(instruction.id, ratios)].append(instruction)
    for name in SPLITS:
        if ratios[name] > 0 and not splits[name]:
            raise DataError(
                f"{len(instructions)} instructions leave the split {name} empty "
                f"(data.ratios.{name}={ratios[name]:g}): give more rows or raise its ratio."
            )
    return _measured_once(splits)


def _split_of(instruction_id: str, ratios: Mapping[str, float]) -> SplitName:
    position, edge = uniform(0, "split", instruction_id), 0.0
    for name in SPLITS:
        edge += ratios[name]
        if position < edge:
            return name
    return max(SPLITS, key=lambda name: ratios[name])  # the sum fell short of 1 by rounding


def disjoint(
    splits: Mapping[SplitName, Sequence[Instruction]],
) -> dict[SplitName, list[Instruction]]:
    """Ready-made splits without overlap: an instruction that occurs in several stays in the first
    of evaluation, validation, sft, preference and unlabeled; in the former two it is there once."""
    taken: set[str] = set()
    kept: dict[SplitName, list[Instruction]] = {}
    for name in ("evaluation", "validation", "sft", "preference", "unlabeled"):
        kept[name] = [i for i in splits[name] if i.id not in taken]
        taken.update(i.id for i in kept[name])
    return _measured_once(kept)


def _measured_once(
    splits: Mapping[SplitName, list[Instruction]],
) -> dict[SplitName, list[Instruction]]:
    """Without duplicates in the splits that figures are means over. Learners keep theirs: one may
    have another demonstration, or be meant to weigh more."""
    measured = {name: _each_once(splits[name]) for name in MEASURED_SPLITS}
    return {**splits, **measured}


def _each_once(instructions: Iterable[Instruction]) -> list[Instruction]:
    first: dict[str, Instruction] = {}
    for instruction in instructions:
        first.setdefault(instruction.id, instruction)
    return list(first.values())
