"""The typed form of `conf/validate.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from farm.errors import ConfigError
from farm.settings import AnnotatorNodes


@dataclass(frozen=True)
class ValidateSettings:
    """The plain keys of the command."""

    labels: str
    """A file, or `gold` or `hub`."""
    judge: str | None
    """Whose labels count, where the file holds several annotators'; `all`: everybody's, as one
    crowd."""
    node: Literal["clean", "train"]
    """Which of the annotators' two is validated."""
    pairs: int
    """How many are made for labels=gold."""
    repeats: int
    """Draws of the annotator for each pair."""
    longer_by: int
    """Characters by which an answer must be longer to count as the longer one."""
    bootstrap: int
    """Resamples of the instructions behind an interval."""
    seed: int
    dry_run: bool
    """Say what asking the annotator would take, and ask nobody."""
    name: str
    """Of the annotator, in the table, the figure and the files."""
    out: str
    """Folder of the table and the figure."""
    runs_dir: str
    """Folder of what annotators keep."""

    def __post_init__(self) -> None:
        lowest = {"pairs": 1, "repeats": 1, "bootstrap": 100, "longer_by": 0, "seed": 0}
        for key, at_least in lowest.items():
            if getattr(self, key) < at_least:
                raise ConfigError(
                    f"{key}={getattr(self, key)}: give a whole number that is {at_least} or more."
                )
        if "/" in self.name:
            raise ConfigError(f"name={self.name}: it becomes part of a file's name; leave out /.")

    @staticmethod
    def from_plain(config: Mapping[str, Any]) -> "ValidateSettings":
        """From a resolved and checked configuration. Raises ConfigError."""
        return ValidateSettings(**{f.name: config[f.name] for f in fields(ValidateSettings)})


@dataclass(frozen=True)
class ValidateConfiguration(ValidateSettings):
    """All top-level keys, with what each must be. Never instantiated."""

    annotators: AnnotatorNodes
    endpoints: Mapping[str, Any]
    """What yaml files refer to; nothing is built from it alone."""
