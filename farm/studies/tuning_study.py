"""What does each way of tuning cost, and what does a learner learn with it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.studies.settings import check_seeds, check_variants

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class TuningStudy:
    """All variants of a seed begin from one start policy; of each the losses of training, its
    memory, and the last policy on `validation`. Raises ConfigError for values that make no
    sense."""

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
        from farm.studies import tuning_job

        if workshop.settings.dry_run:
            tuning_job.preview(self, workshop)
        else:
            tuning_job.carry_out(self, workshop)
