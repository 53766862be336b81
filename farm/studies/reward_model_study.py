"""Which reward model learns most from the same labels? Variants x seeds, on pairs that no training
saw."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.studies.variant_study import VariantStudy

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class RewardModelStudy(VariantStudy):
    """All variants of a seed begin from one start policy and are measured on the same pairs; labels
    are the same where a variant does not choose other annotators. Raises ConfigError for values
    that make no sense."""

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or train, measure and report."""
        from farm.studies import reward_model_job

        if workshop.settings.dry_run:
            reward_model_job.preview(self, workshop)
        else:
            reward_model_job.carry_out(self, workshop)
