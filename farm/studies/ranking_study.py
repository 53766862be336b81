"""Does the simulator rank methods as people would? Methods x annotators x evaluators x seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.errors import ConfigError
from farm.studies.settings import check_seeds

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class RankingStudy:
    """What it crosses. Raises ConfigError for values that make no sense."""

    seeds: Sequence[int]
    """Of the runs; each trains everything anew."""
    annotators: Sequence[str]
    """Choices of the group `annotators`: each trains, and each judges."""
    human: str
    """Which of them stands for people."""
    controls: Sequence[str]
    """Choices of `annotators` that train and do not judge: of no use, if all is well."""
    methods: Sequence[str] | None
    """Choices of the group `method`; None: all that learn from feedback."""
    variants: Mapping[str, Sequence[Sequence[str]]]
    """Overrides of a method's keys, by method; who has none comes as its yaml says."""
    shares: Sequence[float]
    """Which of a learner's checkpoints take part, as shares of their number."""
    biases: Mapping[str, Any]
    """By name, a `judge` whose key `strength` dials a bias, and the `doses` it is given."""
    curve: str
    """The method whose checkpoints are followed for over-optimisation, with its first variant."""
    samples: int
    """Answers to an instruction behind the best-of-n curves."""
    detect: Sequence[float]
    """Differences of win rates, in points, that a plan is to find."""
    plan: bool
    """Say what a larger study needs, from what is there, and run nothing."""

    def __post_init__(self) -> None:
        check_seeds("seeds", self.seeds)
        self._check_annotators()
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise ConfigError(
                f"study.shares={list(self.shares)}: give shares above 0 and up to 1; 1 is the last "
                "checkpoint."
            )
        for name, bias in self.biases.items():
            if set(bias) != {"judge", "doses"}:
                raise ConfigError(f"study.biases.{name}: give a judge and doses.")
        if not self.detect or not all(points > 0 for points in self.detect):
            raise ConfigError(f"study.detect={list(self.detect)}: give differences above 0 points.")
        if self.samples < 2:
            raise ConfigError(f"study.samples={self.samples}: best-of-n needs at least 2.")

    def _check_annotators(self) -> None:
        if self.human not in self.annotators:
            raise ConfigError(
                f"study.human={self.human}: it must be one of study.annotators, "
                f"{', '.join(self.annotators)}."
            )
        distinct = set(self.annotators)
        if len(distinct) < 2 or len(distinct) < len(self.annotators):
            raise ConfigError("study.annotators: give different choices, people and a simulator.")
        if distinct & set(self.controls):
            raise ConfigError("study.controls: a control is none of study.annotators.")

    def run(self, workshop: "Workshop") -> None:
        """Plan, say what would be built, or do it."""
        from farm.studies import ranking_job

        if workshop.settings.dry_run:
            ranking_job.preview(self, workshop)
        elif self.plan:
            ranking_job.plan(self, workshop)
        else:
            ranking_job.carry_out(self, workshop)
