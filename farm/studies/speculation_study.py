"""When should a draft stop? Rules of speculative sampling, each at several settings, over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.errors import ConfigError
from farm.studies.settings import check_seeds
from farm.targets import suggest

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop

OWN = "decoding."
"""What the key of a rule begins with: all else is the same for all of its values."""


@dataclass(frozen=True)
class RuleSettings:
    """A rule, and what is dialled."""

    overrides: Sequence[str]
    """Of a run, that choose it."""
    key: str
    """The key that is dialled."""
    values: Sequence[float | int]
    """From strict to lax; by the last, which lets rounds be longest, estimates are judged."""


@dataclass(frozen=True, kw_only=True)
class SpeculationStudy:
    """All rules of a seed share the start, which is the policy, the draft and the instructions.
    Raises ConfigError for values that make no sense."""

    seeds: Sequence[int]
    """Of the runs; each trains everything anew."""
    rules: Mapping[str, RuleSettings]
    """By name."""
    baseline: str
    """The rule that others are held against; of a fixed number of tokens, since the oracle is
    counted in its rounds."""
    cost_ratios: Sequence[float]
    """How many tokens of the draft take as long as a pass of the policy."""

    def __post_init__(self) -> None:
        check_seeds("seeds", self.seeds)
        if self.baseline not in self.rules:
            raise ConfigError(
                f"study.baseline: {self.baseline} is none of study.rules. "
                f"{suggest(self.baseline, self.rules)}"
            )
        for name, rule in self.settings.items():
            if not rule.key.startswith(OWN):
                raise ConfigError(
                    f"study.rules.{name}.key={rule.key}: give a key of decoding, such as "
                    f"{OWN}threshold."
                )
            if not rule.values or len(set(rule.values)) < len(rule.values):
                raise ConfigError(f"study.rules.{name}.values: give different ones, at least one.")
        if not self.cost_ratios or min(self.cost_ratios) <= 0:
            raise ConfigError("study.cost_ratios: give numbers above 0, at least one.")

    @property
    def settings(self) -> Mapping[str, RuleSettings]:
        """`rules`, which a configuration gives as plain mappings."""
        return {
            name: rule if isinstance(rule, RuleSettings) else RuleSettings(**rule)
            for name, rule in self.rules.items()
        }

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or train, measure and report."""
        from farm.studies import speculation_job

        if workshop.settings.dry_run:
            speculation_job.preview(self, workshop)
        else:
            speculation_job.carry_out(self, workshop)
