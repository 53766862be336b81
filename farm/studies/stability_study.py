"""Does a skill fall first when a policy reads on in a new domain, and which strategy spares it?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.checks import require_at_least
from farm.protocols import Scorer, TextSource
from farm.studies.variant_study import VariantStudy

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class StabilityStudy(VariantStudy):
    """All variants of a seed begin from one start policy; each is measured at step 0 and at every
    checkpoint, on `validation`, apart for each source of instructions. Raises ConfigError for
    values that make no sense."""

    texts: TextSource
    """Held-out raw text of the new domain."""
    score: Scorer
    """Of an answer, between 0 and 1; its mean is the skill."""
    temperature: float
    """At which instructions are answered; 0 is greedy."""
    blocks: int
    """How many of a model's blocks count as its bottom and as its top."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("study.temperature", self.temperature, 0)
        require_at_least("study.blocks", self.blocks, 1)

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or train, measure and report."""
        from farm.studies import stability_job

        if workshop.settings.dry_run:
            stability_job.preview(self, workshop)
        else:
            stability_job.carry_out(self, workshop)
