"""The typed form of `conf/serve.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from farm.errors import ConfigError
from farm.protocols import Scorer
from farm.settings import AnnotatorNodes
from simulators.serving.faults import Faults


@dataclass(frozen=True)
class ServeSettings:
    """The plain keys of the command."""

    seed: int
    """Of verdicts whose request names no seed, and of the faults."""
    runs_dir: str
    """Folder of what annotators keep."""
    host: str
    port: int
    """0 is any free port."""
    api_key_env: str | None
    """Environment variable with the key that requests must carry; None asks for none."""
    batch_s: float
    """Seconds that a batch waits before it is processed."""
    faults: Faults

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: give a whole number that is 0 or more.")
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"port={self.port}: give a number from 0 (any free port) to 65535.")
        if self.batch_s < 0:
            raise ConfigError(f"batch_s={self.batch_s:g}: give a number that is 0 or more.")

    @staticmethod
    def from_plain(config: Mapping[str, Any]) -> "ServeSettings":
        """From a resolved and checked configuration. Raises ConfigError."""
        plain = {field.name: config[field.name] for field in fields(ServeSettings)}
        return ServeSettings(**{**plain, "faults": Faults(**config["faults"])})


@dataclass(frozen=True)
class ServeConfiguration(ServeSettings):
    """All top-level keys, with what each must be. Never instantiated."""

    annotators: AnnotatorNodes
    assessors: Mapping[str, Scorer]
    """Who scores single answers, by question."""
    endpoints: Mapping[str, Any]
    """Whom LLM judges ask, by name."""
