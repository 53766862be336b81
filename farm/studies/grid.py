"""What a study trains and measures: seeds x annotators x policies, each artefact made once."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from farm.artifacts import Artifact
from farm.builder import Executor
from farm.errors import ConfigError
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.stages.evaluation import load_items
from farm.studies.overoptimization import RIVAL
from farm.studies.ranking_study import RankingStudy
from farm.studies.runs import Runs
from farm.targets import suggest
from farm.types import Need, SplitName

if TYPE_CHECKING:
    import pandas as pd

Node = Mapping[str, Any]

FEEDBACK: frozenset[Need] = frozenset({"judgments", "reward", "annotator"})
"""What a learner needs one of to take part without being asked for."""


@dataclass(frozen=True)
class Method:
    """A learner with its keys."""

    name: str
    choice: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A policy that takes part, with its answers."""

    name: str
    learned: bool
    step: int
    outputs: Artifact


def _methods(study: RankingStudy, runs: Runs) -> list[Method]:
    """Every learner that takes part, in its variants."""
    runs.check_methods("variants", study.variants)
    choices = runs.methods(study.methods, FEEDBACK)
    if study.curve not in choices:
        raise ConfigError(
            f"study.curve: {study.curve} takes no part. {suggest(study.curve, choices)}"
        )
    return [
        Method(_name(choice, overrides), choice, tuple(overrides))
        for choice in choices
        for overrides in study.variants.get(choice, [[]])
    ]


def _name(choice: str, overrides: Sequence[str]) -> str:
    return " ".join([choice, *(override.removeprefix("method.") for override in overrides)])


class Grid:
    """The cells of a study, each built when it is first asked for."""

    def __init__(self, study: RankingStudy, runs: Runs, executor: Executor) -> None:
        self._study = study
        self._executor = executor
        self._compose = cache(runs.compose)
        self.pipeline = cache(self._pipeline)
        self.methods = _methods(study, runs)

    def check(self) -> None:
        """Compose and check every cell, so that a mistake shows before anything runs."""
        for annotators in (*self._study.annotators, *self._study.controls):
            for method in self.methods:
                self._config(annotators, method)
        biases = self._config(self._study.annotators[0], self.methods[0])["study"]["biases"]
        for name, bias in biases.items():
            if "strength" not in bias["judge"]:
                raise ConfigError(
                    f"study.biases.{name}.judge: it needs a key strength, which the doses replace."
                )

    def _config(self, annotators: str, method: Method) -> Node:
        return self._compose(
            (f"annotators={annotators}", f"method={method.choice}", *method.overrides)
        )

    def _pipeline(self, seed: int, annotators: str, method: Method) -> Pipeline:
        config = {**self._config(annotators, method), "seed": seed}
        return Pipeline(config, Settings.from_plain(config), self._executor)

    # ------------------------------------------------------------------------------- policies

    def policies(self, seed: int, annotators: str) -> Iterator[Policy]:
        """The start at its temperatures, and what learned from these annotators' labels."""
        yield from self._starts(seed, annotators)
        for method in self.methods:
            yield from self._learned(seed, annotators, method)

    def _starts(self, seed: int, annotators: str) -> Iterator[Policy]:
        first = self.pipeline(seed, annotators, self.methods[0])
        config = self._config(annotators, self.methods[0])
        for temperature in config["evaluation"]["temperatures"]:
            outputs = first.start_outputs("evaluation", temperature)
            yield Policy(f"start at temperature {temperature:g}", False, 0, outputs)

    def _learned(self, seed: int, annotators: str, method: Method) -> Iterator[Policy]:
        pipeline = self.pipeline(seed, annotators, method)
        steps = self._steps(pipeline)
        temperature = self._config(annotators, method)["decoding"]["temperature"]
        for share in self._study.shares:
            step = steps[math.ceil(share * len(steps)) - 1]
            label = f"{method.name}, step {step}"
            outputs = pipeline.outputs(pipeline.checkpoint(step), "evaluation", temperature, label)
            yield Policy(f"{method.name} at {share:.0%}", True, step, outputs)

    def _steps(self, pipeline: Pipeline) -> list[int]:
        return sorted(map(int, pipeline.policy.manifest["results"]["checkpoints"]))

    # -------------------------------------------------------------------------------- judging

    def reference(self, seed: int, split: SplitName) -> Artifact:
        """One frozen opponent for all annotators of a seed: the start at the temperature that the
        first annotators' judge likes best."""
        first = self.pipeline(seed, self._study.annotators[0], self.methods[0])
        return first.reference_outputs(split)

    @property
    def evaluators(self) -> dict[str, Node]:
        """Judges by name: each choice of annotators without its noise, those that train nobody,
        and the first choice's with dialled biases at every dose."""
        first = self._config(self._study.annotators[0], self.methods[0])
        judges = {
            annotators: self._config(annotators, self.methods[0])["annotators"]["clean"]
            for annotators in self._study.annotators
        }
        if first["evaluators"]["judge"] is not None:
            judges["held out"] = first["evaluators"]["judge"]
        for name, bias in first["study"]["biases"].items():
            for dose in bias["doses"]:
                judges[f"{name} {dose:g}"] = {**bias["judge"], "strength": dose}
        return judges

    def judged(self, seed: int, annotators: str, policy: Policy) -> Artifact:
        """A policy's answers to `evaluation`, judged by all evaluators."""
        pipeline = self.pipeline(seed, annotators, self.methods[0])
        return pipeline.crossing(
            policy.outputs, self.reference(seed, "evaluation"), "evaluation", self.evaluators,
            f"{policy.name} judged", {},
        )  # fmt: skip

    def headline(self, items: "pd.DataFrame") -> "pd.DataFrame":
        """The rows of categories that count for headline figures."""
        excluded = self._config(self._study.annotators[0], self.methods[0])["data"]
        return items[~items["category"].isin(excluded["headline_excludes"])]

    def labels(self, seed: int, annotators: str) -> Artifact:
        """What these annotators said for training."""
        return self.pipeline(seed, annotators, self.methods[0]).judgments

    # ---------------------------------------------------------------------- over-optimisation

    @property
    def _followed(self) -> Method:
        return next(method for method in self.methods if method.choice == self._study.curve)

    def checkpoints(self, seed: int, annotators: str) -> Iterator[tuple[int, "pd.DataFrame"]]:
        """Every checkpoint of the followed method on `validation`, with proxy, KL and the scores of
        the other seeds' reward models; the start's step is 0."""
        pipeline = self.pipeline(seed, annotators, self._followed)
        temperature = self._config(annotators, self._followed)["decoding"]["temperature"]
        policies = {0: pipeline.start}
        policies |= {step: pipeline.checkpoint(step) for step in self._steps(pipeline)}
        for step, policy in policies.items():
            label = f"{self._followed.name}, step {step}"
            crossed = partial(
                pipeline.crossing,
                pipeline.outputs(policy, "validation", temperature, label),
                self.reference(seed, "validation"),
                "validation",
            )
            own = {"reward": pipeline.reward, "policy": policy, "start": pipeline.start}
            items = load_items(crossed(self.evaluators, f"{label} judged", own).path)
            for other, reward in self._rivals(seed, annotators):
                scored = crossed({}, f"{label} scored by seed {other}", {"reward": reward})
                items[f"{RIVAL}{other}"] = load_items(scored.path)["proxy"]
            yield step, items

    def _rivals(self, seed: int, annotators: str) -> Iterator[tuple[int, Artifact]]:
        """The reward models that the other seeds learned from these annotators."""
        for other in self._study.seeds:
            if other != seed:
                yield other, self.pipeline(other, annotators, self._followed).reward

    def samples(self, seed: int, annotators: str) -> "pd.DataFrame":
        """Many answers of the start to each instruction of `validation`, with the proxy that these
        annotators' labels gave; judged once for all annotators."""
        pipeline = self.pipeline(seed, annotators, self._followed)
        n = self._study.samples
        crossed = partial(
            pipeline.crossing,
            pipeline.outputs(pipeline.start, "validation", 1.0, f"{n} samples", n=n),
            self.reference(seed, "validation"),
            "validation",
        )
        judged = load_items(crossed(self.evaluators, f"{n} samples judged", {}).path)
        scored = load_items(crossed({}, f"{n} samples scored", {"reward": pipeline.reward}).path)
        frame: pd.DataFrame = judged.assign(
            proxy=scored["proxy"], proxy_reference=scored["proxy_reference"]
        )
        return frame
