"""What does each way of tuning cost, and what does a learner learn with it?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.studies.variant_study import VariantStudy

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class TuningStudy(VariantStudy):
    """All variants of a seed begin from one start policy; of each the losses of training, its
    memory, and the last policy on `validation`. Raises ConfigError for values that make no
    sense."""

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or train, measure and report."""
        from farm.studies import tuning_job

        if workshop.settings.dry_run:
            tuning_job.preview(self, workshop)
        else:
            tuning_job.carry_out(self, workshop)
