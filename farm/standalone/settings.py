"""The typed form of `conf/evaluate.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, Literal

from farm.errors import ConfigError
from farm.protocols import InstructionSource, Sampler
from farm.settings import ClusterSettings, DecodingSettings, EvaluatorNodes


@dataclass(frozen=True)
class AgainstSettings:
    """What the outputs are held against, and on which instructions."""

    reference: str
    """The opponent: a file of outputs, a policy directory or a hub name."""
    instructions: Literal["all", "common"]
    """Every file must answer all the instructions, or only those count that every file answers."""


@dataclass(frozen=True)
class PolicyLimits:
    """How much policies read and write, in tokens."""

    max_prompt_tokens: int
    max_new_tokens: int


@dataclass(frozen=True)
class EvaluateSettings:
    """The plain keys of the command."""

    outputs: str | Sequence[str]
    """What is evaluated: files of outputs, policy directories or hub names."""
    evaluation: AgainstSettings
    model: PolicyLimits
    decoding: DecodingSettings
    """How policies answer."""
    samples: int
    """Instructions whose answers the page shows side by side."""
    seed: int
    dry_run: bool
    """Say what judging would take, and ask nobody."""
    name: str
    """Of the folder of the results, and in their title."""
    out: str
    """Folder of the results."""
    runs_dir: str
    """Folder of the artefact store and of what judges keep."""
    cluster: ClusterSettings

    def __post_init__(self) -> None:
        lowest = {
            "model.max_prompt_tokens": (self.model.max_prompt_tokens, 1),
            "decoding.max_new_tokens": (self.decoding.max_new_tokens, 1),
            "decoding.temperature": (self.decoding.temperature, 0),
            "samples": (self.samples, 0),
            "seed": (self.seed, 0),
        }
        for key, (value, at_least) in lowest.items():
            if value < at_least:
                raise ConfigError(f"{key}={value}: give a number that is {at_least} or more.")
        if not self.sources:
            raise ConfigError("outputs: name at least one file, policy directory or hub name.")
        if "/" in self.name:
            raise ConfigError(f"name={self.name}: it becomes a folder's name; leave out /.")

    @property
    def sources(self) -> Sequence[str]:
        """What is evaluated, as a list however many there are."""
        return [self.outputs] if isinstance(self.outputs, str) else self.outputs

    @staticmethod
    def from_plain(config: Mapping[str, Any]) -> "EvaluateSettings":
        """From a resolved and checked configuration. Raises ConfigError."""
        if config["evaluators"]["judge"] is None:
            raise ConfigError(
                "evaluators: nobody is chosen to judge. Give evaluators=CHOICE: "
                f"{', '.join(_evaluators())}, or a yaml of your own (-cd DIR)."
            )
        plain = {field.name: config[field.name] for field in fields(EvaluateSettings)}
        plain["evaluation"] = AgainstSettings(**config["evaluation"])
        plain["model"] = PolicyLimits(**config["model"])
        plain["decoding"] = DecodingSettings(**config["decoding"])
        plain["cluster"] = ClusterSettings(**config["cluster"])
        return EvaluateSettings(**plain)


def _evaluators() -> list[str]:
    """The choices of the group `evaluators` that judge."""
    files = resources.files("conf").joinpath("evaluators").iterdir()
    names = [file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")]
    return sorted(name for name in names if name != "none")


@dataclass(frozen=True)
class NoSource:
    """No source of instructions is chosen: they are those of the files."""


@dataclass(frozen=True)
class EvaluateConfiguration(EvaluateSettings):
    """All top-level keys, with what each must be. Never instantiated."""

    data: InstructionSource | NoSource
    evaluators: EvaluatorNodes
    endpoints: Mapping[str, Any]
    """The chat models that LLM judges ask, by role."""
    sampler: Sampler
