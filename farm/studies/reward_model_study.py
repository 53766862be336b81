"""Which reward model learns most from the same labels? Variants x seeds, on pairs that no training
saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.studies.settings import check_seeds, check_variants

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class RewardModelStudy:
    """All variants of a seed begin from one start policy and are measured on the same pairs; labels
    are the same where a variant does not choose other annotators. Raises ConfigError for values
    that make no sense."""

    seeds: Sequence[int]
    """Of the runs; each trains everything anew."""
    variants: Mapping[str, Sequence[str]]
    """By name, the overrides of a run that make it."""
    baseline: str
    """The variant that all others are held against."""

    def __post_init__(self) -> None:
        check_seeds("seeds", self.seeds)
        check_variants(self.variants, self.baseline)

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or train, measure and report."""
        from farm.studies import reward_model_job

        if workshop.settings.dry_run:
            reward_model_job.preview(self, workshop)
        else:
            reward_model_job.carry_out(self, workshop)
