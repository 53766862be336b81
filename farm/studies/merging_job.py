"""The merging study at work: train the parents, merge, measure by domain, report."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.artifacts import Artifact
from farm.builder import Executor
from farm.errors import ConfigError
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.stages.instructions import load_split
from farm.stages.outputs import first_texts
from farm.stages.policy import training_metrics
from farm.studies.merging_study import MergingStudy
from farm.studies.runs import Runs
from farm.studies.workshop import Workshop

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measured:
    """What the study measures."""

    scores: "pd.DataFrame"
    """One row per seed, policy and domain: role (start, parent, other, merge), domain, score (mean,
    percent) and instructions."""
    likeness: "pd.DataFrame"
    """One row per seed and merge: the metrics that the merge has logged."""


class Family:
    """The policies of one seed, each built when it is first asked for."""

    def __init__(
        self, study: MergingStudy, runs: "Composed", seed: int, executor: Executor
    ) -> None:
        self._study, self._runs, self._seed, self._executor = study, runs, seed, executor
        self.pipeline = cache(self._pipeline)

    def _pipeline(self, name: str) -> Pipeline:
        config = {**self._runs.config(name), "seed": self._seed}
        return Pipeline(config, Settings.from_plain(config), self._executor)

    def policies(self) -> Iterator[tuple[str, str, Artifact]]:
        """Role, name and policy."""
        yield "start", "start", self.start
        for role, names in (("parent", self._study.parents), ("other", self._study.others)):
            for name in names:
                yield role, name, self.pipeline(name).policy
        for name in self._study.merges:
            yield "merge", name, self.merged(name)

    @cached_property
    def base(self) -> Pipeline:
        """The first parent's: what all policies share is the same in each."""
        return self.pipeline(next(iter(self._study.parents)))

    @property
    def start(self) -> Artifact:
        """Where all of them begin."""
        return self.base.start

    def merged(self, name: str) -> Artifact:
        """The policy of one merge."""
        method = self._runs.config(name)["method"]
        of = {"start": self.start} | {p: self.pipeline(p).policy for p in self._study.parents}
        policies = [of[policy] for policy in method["policies"]]
        return self.base.fit(method, self.start, "preference", policies, label=name)

    def answers(self, name: str, policy: Artifact) -> Artifact:
        """What a policy says to `evaluation`."""
        return self.base.outputs(policy, "evaluation", self._study.temperature, name)


class Composed:
    """The configurations of a study's policies."""

    def __init__(self, study: MergingStudy, runs: Runs) -> None:
        self._study = study
        self._overrides = {**study.parents, **study.others, **study.merges}
        self._compose = cache(runs.compose)

    def config(self, name: str) -> Any:
        """Of the run that makes a policy."""
        return self._compose(tuple(self._overrides[name]))

    def check(self) -> None:
        """Compose and check all, so that a mistake shows before anything runs."""
        for name in self._overrides:
            try:
                method = self.config(name)["method"]
            except ConfigError as error:
                raise ConfigError(f"{error} (in study, {name})") from None
            if name in self._study.merges:
                self._study.check_policies(name, method.get("policies", [method["_target_"]]))


def _families(
    study: MergingStudy, workshop: Workshop, executor: Executor, say: Callable[[str], None]
) -> Iterator[tuple[int, Family]]:
    runs = Composed(study, workshop.runs)
    runs.check()
    for seed in study.seeds:
        say(f"seed {seed}:")
        yield seed, Family(study, runs, seed, executor)


def carry_out(study: MergingStudy, workshop: Workshop) -> None:
    """Train, merge, measure, and write the report."""
    with workshop.builder() as builder:
        measured = measure(study, workshop, builder)
    _report(measured, study, workshop)


def measure(study: MergingStudy, workshop: Workshop, executor: Executor) -> Measured:
    """Every policy of every seed."""
    import pandas as pd

    scores, likeness = [], []
    for seed, family in _families(study, workshop, executor, workshop.console.message):
        for role, name, policy in family.policies():
            for row in _scored(study, family, name, policy):
                scores.append({"seed": seed, "role": role, "policy": name, **row})
            if role == "merge":
                (logged,) = training_metrics(policy.path)
                del logged["step"], logged["time_s"]
                likeness.append({"seed": seed, "policy": name, **logged})
    return Measured(pd.DataFrame(scores), pd.DataFrame(likeness))


def _scored(
    study: MergingStudy, family: Family, name: str, policy: Artifact
) -> Iterator[dict[str, Any]]:
    asked = load_split(family.base.instructions.path, "evaluation")
    texts = first_texts(family.answers(name, policy).path, asked)
    scores = study.score.score(asked, texts)
    for domain, categories in study.domains.items():
        inside = np.array([i.category in categories for i in asked])
        if not inside.any():
            raise ConfigError(f"study.domains.{domain}: `evaluation` has no such categories.")
        yield {
            "domain": domain,
            "score": 100 * float(np.nanmean(scores[inside])),
            "instructions": int(inside.sum()),
        }


def _report(measured: Measured, study: MergingStudy, workshop: Workshop) -> None:
    from farm.reporting.merging_tables import print_merging
    from farm.studies.merging_tables import merging_tables

    tables = merging_tables(measured, list(study.domains))
    workshop.keep({**vars(measured), **tables})
    print_merging(tables, workshop.console.rich)
    for name in sorted([*vars(measured), *tables]):
        workshop.console.message(str(workshop.folder() / f"{name}.parquet"))


def preview(study: MergingStudy, workshop: Workshop) -> None:
    """Print what would be built."""
    planner = workshop.planner()
    with workshop.planned(planner):
        for _, family in _families(study, workshop, planner, workshop.console.message):
            for _, name, policy in family.policies():
                _ = family.answers(name, policy)
