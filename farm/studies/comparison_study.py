"""Which method is best under equal conditions? All methods, each with as many tuning trials, from
one start, one set of labels or one budget of judgments, against one reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.errors import ConfigError
from farm.studies.settings import check_seeds

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop

OWN = "method."
"""What a trial's overrides begin with: all else is the same for all methods."""


@dataclass(frozen=True, kw_only=True)
class ComparisonStudy:
    """A method's trials run on the tuning seeds; the one whose selected checkpoint has the highest
    win rate on `validation` runs on all seeds, and its selected checkpoints are looked at once on
    `evaluation`. Raises ConfigError for values that make no sense."""

    seeds: Sequence[int]
    """Behind the table."""
    tuning_seeds: Sequence[int]
    """Behind the choice among trials; none of `seeds`."""
    methods: Sequence[str] | None
    """Choices of the group `method`; None: all that learn from demonstrations or feedback."""
    trials: Mapping[str, Sequence[Sequence[str]]]
    """Overrides of a method's keys, trial by trial, as many trials for each method."""

    def __post_init__(self) -> None:
        check_seeds("seeds", self.seeds)
        check_seeds("tuning_seeds", self.tuning_seeds)
        if shared := sorted(set(self.seeds) & set(self.tuning_seeds)):
            raise ConfigError(
                f"study.tuning_seeds: {shared} are also in study.seeds; what is chosen on a seed "
                "is not measured on it."
            )
        if self.methods is not None and len(set(self.methods)) < max(len(self.methods), 1):
            raise ConfigError(f"study.methods={list(self.methods)}: give different methods.")
        for method, trials in self.trials.items():
            _check_trials(f"study.trials.{method}", trials)

    def run(self, workshop: "Workshop") -> None:
        """Say what would be built, or tune, measure and report."""
        from farm.studies import comparison_job

        if workshop.settings.dry_run:
            comparison_job.preview(self, workshop)
        else:
            comparison_job.carry_out(self, workshop)


def _check_trials(key: str, trials: Sequence[Sequence[str]]) -> None:
    for override in (override for trial in trials for override in trial):
        if not override.lstrip("+").startswith(OWN):
            raise ConfigError(
                f"{key}: {override} is no key of the method, which begin with {OWN}; all else is "
                "the same for all methods."
            )
    if len({tuple(trial) for trial in trials}) < len(trials):
        raise ConfigError(f"{key}: two trials are the same, so one of them tunes nothing.")
