"""The typed form of the configuration's plain keys: those that name no class.

Field names are the yaml's keys; the yaml files of `conf/` hold the defaults and their sources.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from farm.errors import ConfigError
from farm.protocols import (
    Annotator,
    InstructionSource,
    Learner,
    ModelSource,
    RewardLearner,
    Sampler,
    Scorer,
    Tuning,
)
from farm.tracking import Tracker


def _at_least(lowest: float, key: str, *values: float | None) -> None:
    for value in values:
        if value is not None and not lowest <= value < math.inf:
            raise ConfigError(f"{key}: give a number that is {lowest} or more, not {value}.")


@dataclass(frozen=True)
class DecodingSettings:
    """How learned policies answer; what else `farm.types.Decoding` says, they bring themselves."""

    temperature: float
    max_new_tokens: int


@dataclass(frozen=True)
class PairSettings:
    """How the pairs that annotators label are made."""

    per_instruction: int
    """Pairs of answers sampled for each instruction of the split `preference`."""
    instructions: int | None
    """How many of the split's instructions are used; None is all."""
    temperature: float
    """At which the start policy answers."""

    def __post_init__(self) -> None:
        _at_least(1, "pairs.per_instruction", self.per_instruction)
        _at_least(1, "pairs.instructions", self.instructions)
        _at_least(0, "pairs.temperature", self.temperature)


@dataclass(frozen=True)
class EvaluationSettings:
    """How policies are measured."""

    reference: str | None
    """The opponent: a policy directory, a hub name or a file of outputs. None is the start policy
    at its best temperature."""
    temperatures: tuple[float, ...]
    """At which the start policy is shown, and among which the default reference is chosen."""
    validation_instructions: int | None
    """Instructions on which checkpoints are compared; None is the whole split."""
    evaluation_instructions: int | None
    """Instructions of the one final look; None is the whole split."""
    kl_instructions: int
    """Instructions whose sampled answers give the KL divergence from the start policy."""
    longest_of: int
    """Samples among which the longest-answer control takes the longest."""
    samples: int
    """Answers shown side by side in the report."""
    reward_bench: str | None
    """A file of chosen and rejected answers on which reward models are measured as well."""

    def __post_init__(self) -> None:
        if not self.temperatures:
            raise ConfigError("evaluation.temperatures: give at least one temperature.")
        _at_least(0, "evaluation.temperatures", *self.temperatures)
        _at_least(1, "evaluation.validation_instructions", self.validation_instructions)
        _at_least(1, "evaluation.evaluation_instructions", self.evaluation_instructions)
        _at_least(1, "evaluation.kl_instructions", self.kl_instructions)
        _at_least(1, "evaluation.longest_of", self.longest_of)
        _at_least(0, "evaluation.samples", self.samples)


@dataclass(frozen=True)
class ClusterSettings:
    """Where Ray runs and how patient we are with it."""

    address: str
    """`local` starts Ray here; `auto` or HOST:PORT joins a running cluster."""
    num_cpus: int | None
    """CPU cores that torch may use on a machine, by all learners there; None is all."""
    learners: int
    """Ranks that train together."""
    sharded: bool
    """Whether each of them holds a part of every weight, gradient and optimiser state, or all."""
    gpus_per_learner: float
    samplers: int
    """Actors that draw answers; with 0, learners do."""
    gpus_per_sampler: float
    scorers: int
    """Actors that score answers and help annotators that compute; with 0, learners do."""
    gpus_per_scorer: float
    grows: bool
    """Whether machines are added on demand, so that what finds no room is waited for."""
    max_restarts: int
    """How often a stage whose workers died or hung is continued by new ones."""
    start_timeout_s: float
    call_timeout_s: float
    """How long a worker may show no progress before it counts as hung."""
    runtime_env: Mapping[str, Any]
    """What Ray gives the processes of a joined cluster: packages, variables, a working folder."""
    object_store_memory_bytes: int
    """Shared memory for Ray's objects, where Ray is started here."""

    def __post_init__(self) -> None:
        _at_least(1, "cluster.num_cpus", self.num_cpus)
        _at_least(1, "cluster.learners", self.learners)
        for key in ("samplers", "scorers"):
            _at_least(0, f"cluster.{key}", getattr(self, key))
        for key in ("gpus_per_learner", "gpus_per_sampler", "gpus_per_scorer"):
            _at_least(0, f"cluster.{key}", getattr(self, key))
        _at_least(0, "cluster.max_restarts", self.max_restarts)
        _at_least(1, "cluster.start_timeout_s", self.start_timeout_s)
        _at_least(1, "cluster.call_timeout_s", self.call_timeout_s)
        _at_least(2**26, "cluster.object_store_memory_bytes", self.object_store_memory_bytes)


@dataclass(frozen=True)
class Settings:
    """The plain keys of a run."""

    seed: int
    name: str
    """Shown in the name of the run's folder."""
    start: Literal["sft", "instruct"]
    """Learning begins from the SFT policy, or from the model as it is."""
    dry_run: bool
    """Say which stages would run, and run none."""
    runs_dir: str
    """Folder of the store and of all runs."""
    mirror: str | None
    """URL of a copy of the store; see `farm.mirror`."""
    decoding: DecodingSettings
    """How learned policies are decoded in evaluation."""
    pairs: PairSettings
    evaluation: EvaluationSettings
    cluster: ClusterSettings

    def __post_init__(self) -> None:
        if "/" in self.name:
            raise ConfigError(f"name={self.name}: it becomes part of a folder's name; leave out /.")
        _at_least(0, "seed", self.seed)
        _at_least(0, "decoding.temperature", self.decoding.temperature)
        _at_least(1, "decoding.max_new_tokens", self.decoding.max_new_tokens)

    @staticmethod
    def from_plain(config: Mapping[str, Any]) -> "Settings":
        """From a resolved and checked configuration."""
        plain = {field.name: config[field.name] for field in fields(Settings)}
        evaluation = dict(config["evaluation"])
        evaluation["temperatures"] = tuple(map(float, evaluation["temperatures"]))
        plain["decoding"] = DecodingSettings(**config["decoding"])
        plain["pairs"] = PairSettings(**config["pairs"])
        plain["evaluation"] = EvaluationSettings(**evaluation)
        plain["cluster"] = ClusterSettings(**config["cluster"])
        return Settings(**plain)


@dataclass(frozen=True)
class AnnotatorNodes:
    """`clean` is the pool with its biases; `train` is `clean` inside noise, order and cache."""

    clean: Annotator
    train: Annotator


@dataclass(frozen=True)
class EvaluatorNodes:
    """`judge` is another annotator than those who trained, or null."""

    judge: Annotator | None


@dataclass(frozen=True)
class DataKeys:
    """Keys of the node `data` that belong to measuring; all others go to the constructor."""

    gold: Scorer | None
    headline_excludes: tuple[str, ...]
    """Categories outside the headline figures."""


@dataclass(frozen=True)
class Configuration(Settings):
    """All top-level keys, with what each must be. Never instantiated: the pipeline builds nodes
    where it needs them."""

    data: InstructionSource
    model: ModelSource
    endpoints: Mapping[str, Any]
    """The chat models that LLM judges ask, by role."""
    annotators: AnnotatorNodes
    evaluators: EvaluatorNodes
    reward: RewardLearner | Scorer
    method: Learner
    sft: Learner
    tuning: Tuning
    start_tuning: Tuning | None
    """Of the start policy's learner; None: `tuning`."""
    sampler: Sampler
    tracking: Tracker
