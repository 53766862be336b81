"""What studies have in common that hold variants of a run against a baseline, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farm.errors import ConfigError
from farm.studies.settings import check_seeds
from farm.targets import suggest


@dataclass(frozen=True, kw_only=True)
class VariantStudy:
    """The keys of such a study; its own class adds others. Raises ConfigError for values that make
    no sense."""

    seeds: Sequence[int]
    """Of the runs; each trains everything anew."""
    variants: Mapping[str, Sequence[str]]
    """By name, the overrides of a run that make it."""
    baseline: str
    """The variant that all others are held against."""

    def __post_init__(self) -> None:
        check_seeds("seeds", self.seeds)
        if len(self.variants) < 2:
            raise ConfigError("study.variants: give two or more, to be compared.")
        if len({tuple(overrides) for overrides in self.variants.values()}) < len(self.variants):
            raise ConfigError("study.variants: two of them are the same, but for their names.")
        if self.baseline not in self.variants:
            raise ConfigError(
                f"study.baseline: {self.baseline} is none of study.variants. "
                f"{suggest(self.baseline, self.variants)}"
            )
