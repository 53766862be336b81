"""The typed form of a study's own keys; those of its runs are `farm.settings`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from farm.errors import ConfigError
from farm.settings import Configuration, Settings


@dataclass(frozen=True)
class StudySettings:
    """What a study crosses."""

    seeds: tuple[int, ...]
    """Of the runs; each trains everything anew."""
    annotators: tuple[str, ...]
    """Choices of the group `annotators`: each trains, and each judges."""
    human: str
    """Which of them stands for people."""
    controls: tuple[str, ...]
    """Choices of `annotators` that train and do not judge: of no use, if all is well."""
    variants: Mapping[str, tuple[tuple[str, ...], ...]]
    """Overrides of a method's keys, by method; who has none comes as its yaml says."""
    shares: tuple[float, ...]
    """Which of a learner's checkpoints take part, as shares of their number."""
    biases: Mapping[str, Any]
    """By name, a `judge` whose key `strength` dials a bias, and the `doses` it is given."""
    curve: str
    """The method whose checkpoints are followed for over-optimisation, with its first variant."""
    samples: int
    """Answers to an instruction behind the best-of-n curves."""
    detect: tuple[float, ...]
    """Differences of win rates, in points, that a plan is to find."""

    @staticmethod
    def from_plain(node: Mapping[str, Any]) -> "StudySettings":
        """From a resolved and checked node. Raises ConfigError for values that make no sense."""
        values = {key: _frozen(value) for key, value in node.items()}
        settings = StudySettings(**values)
        _check(settings)
        return settings


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(entry) for entry in value)
    if isinstance(value, Mapping):
        return {key: _frozen(entry) for key, entry in value.items()}
    return value


def _check(study: StudySettings) -> None:
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        raise ConfigError(f"study.seeds={list(study.seeds)}: give different seeds, at least one.")
    if study.human not in study.annotators:
        raise ConfigError(
            f"study.human={study.human}: it must be one of study.annotators, "
            f"{', '.join(study.annotators)}."
        )
    if len(set(study.annotators)) < 2 or len(set(study.annotators)) < len(study.annotators):
        raise ConfigError("study.annotators: give different choices, people and a simulator.")
    if set(study.controls) & set(study.annotators):
        raise ConfigError("study.controls: a control is none of study.annotators.")
    if not study.shares or not all(0 < share <= 1 for share in study.shares):
        raise ConfigError(
            f"study.shares={list(study.shares)}: give shares above 0 and up to 1; 1 is the last "
            "checkpoint."
        )
    for name, bias in study.biases.items():
        if set(bias) != {"judge", "doses"} or "strength" not in bias["judge"]:
            raise ConfigError(f"study.biases.{name}: give a judge with a key strength, and doses.")
    if not study.detect or not all(points > 0 for points in study.detect):
        raise ConfigError(f"study.detect={list(study.detect)}: give differences above 0 points.")
    if study.samples < 2:
        raise ConfigError(f"study.samples={study.samples}: best-of-n needs at least 2.")


@dataclass(frozen=True)
class StudyConfiguration(Configuration):
    """All top-level keys of a study. Never instantiated."""

    study: StudySettings
    plan: bool
    """Say what a larger study needs, from what is there, and run nothing."""

    @staticmethod
    def from_plain(config: Mapping[str, Any]) -> Settings:
        """Checks the values of the study as well as those of its runs."""
        StudySettings.from_plain(config["study"])
        return Settings.from_plain(config)


STUDY_KEYS = frozenset(field.name for field in fields(StudyConfiguration)) - frozenset(
    field.name for field in fields(Configuration)
)
"""The keys that no run has."""
