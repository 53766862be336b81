"""What does merging policies of two domains give? Parents x merges x seeds, by domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.errors import ConfigError
from farm.protocols import Scorer
from farm.studies.settings import check_seeds
from farm.targets import suggest

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop

EVERYWHERE = "both"
"""The mean of both domains, where a domain's name stands."""


@dataclass(frozen=True, kw_only=True)
class MergingStudy:
    """On each seed the parents go on from one start; merges are of the start and both parents, or
    of the parents alone. All are measured on the same instructions of `evaluation`. Raises
    ConfigError for values that make no sense."""

    seeds: Sequence[int]
    """Of the runs; each trains everything anew."""
    domains: Mapping[str, Sequence[str]]
    """Categories of instructions by the domain's name; two domains."""
    parents: Mapping[str, Sequence[str]]
    """By domain, the overrides of the run that makes its parent."""
    others: Mapping[str, Sequence[str]]
    """By name, overrides of runs that are shown beside the merges."""
    merges: Mapping[str, Sequence[str]]
    """By name, overrides of a run whose `method.policies` are `start` and the domains' names."""
    score: Scorer
    """Of answers; its mean in a domain is the performance there."""
    temperature: float
    """At which all policies answer."""

    def __post_init__(self) -> None:
        check_seeds("seeds", self.seeds)
        if len(self.domains) != 2:
            raise ConfigError(f"study.domains: give two, not {len(self.domains)}.")
        one, other = self.domains.values()
        if shared := sorted(set(one) & set(other)):
            raise ConfigError(f"study.domains: {', '.join(shared)} cannot be in both.")
        if list(self.parents) != list(self.domains):
            raise ConfigError(
                f"study.parents: give one for each of {', '.join(self.domains)}, in this order."
            )
        if not self.merges:
            raise ConfigError("study.merges: give at least one.")
        names = ["start", *self.parents, *self.others, *self.merges]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"study: {', '.join(twice)} names two policies.")
        if EVERYWHERE in self.domains:
            raise ConfigError(f"study.domains: {EVERYWHERE} names the mean of both.")

    def check_policies(self, merge: str, policies: Sequence[str]) -> None:
        """Raise ConfigError where a merge is of others than the start and the parents."""
        known = ["start", *self.parents]
        for name in policies:
            if name not in known:
                raise ConfigError(
                    f"study.merges.{merge}: method.policies names {name}. {suggest(name, known)}"
                )

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or train, merge, measure and report."""
        from farm.studies import merging_job

        if workshop.settings.dry_run:
            merging_job.preview(self, workshop)
        else:
            merging_job.carry_out(self, workshop)
