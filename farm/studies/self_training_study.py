"""What does a policy learn from its own tasks and answers? Ways to choose them, and to train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.protocols import Scorer
from farm.studies.variant_study import VariantStudy

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class SelfTrainingStudy(VariantStudy):
    """All variants of a seed begin from one start policy, and so from the same tasks and answers in
    their first round. What is kept and what each round's policy answers to `evaluation` is checked
    by a verifier that no learner knows. Raises ConfigError for values that make no sense."""

    assessments: Mapping[str, Sequence[str]]
    """By name, the overrides of a run that make its `reward` another one, which scores the
    baseline's first round: no policy learns from it."""
    verifier: Scorer
    """1 for a right answer, 0 for a wrong one."""

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or train, verify and report."""
        from farm.studies import self_training_job

        if workshop.settings.dry_run:
            self_training_job.preview(self, workshop)
        else:
            self_training_job.carry_out(self, workshop)
