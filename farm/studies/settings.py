"""What a study is, and the typed form of its configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from farm.errors import ConfigError
from farm.settings import Configuration

if TYPE_CHECKING:
    from farm.studies.workshop import Workshop


@runtime_checkable
class Study(Protocol):
    """What `python -m farm.study` does with many runs; the group `study` names it."""

    def run(self, workshop: "Workshop") -> None:
        """Build what it needs, or say what that would be (`dry_run`), and report. Raises
        ConfigError for what is wrong with its runs before the first of them begins."""
        ...


@dataclass(frozen=True)
class StudyConfiguration(Configuration):
    """All top-level keys of a study. Never instantiated."""

    study: Study


def check_seeds(key: str, seeds: Sequence[int]) -> None:
    """Raise ConfigError unless these are different seeds, at least one."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"study.{key}={list(seeds)}: give different seeds, at least one.")
