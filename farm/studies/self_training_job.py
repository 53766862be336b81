"""The self-training study at work: train, verify, report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from farm.artifacts import Artifact
from farm.builder import Executor, Step
from farm.errors import ConfigError
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.stages.verification import ANSWERS
from farm.studies.self_training_study import SelfTrainingStudy
from farm.studies.variants import Variants
from farm.studies.workshop import Workshop
from farm.types import SplitName

if TYPE_CHECKING:
    import pandas as pd

_SPLIT: SplitName = "evaluation"
Assessments = Mapping[str, Mapping[str, Any]]
"""Nodes of scorers by name."""


@dataclass(frozen=True)
class Measured:
    """What the study measures; see farm.stages.verification."""

    candidates: "pd.DataFrame"
    """The tasks of every seed, variant and round."""
    answers: "pd.DataFrame"
    """The verdicts on the answers of every seed, variant and policy, headline categories alone."""
    costs: "pd.DataFrame"
    """One row per seed and variant: flops and wall_s of training."""


class Cell:
    """One variant on one seed."""

    def __init__(
        self,
        assessments: Assessments,
        config: Mapping[str, Any],
        settings: Settings,
        executor: Executor,
    ) -> None:
        if config["method"].get("checkpoint_every") is not None:
            raise ConfigError(
                "method.checkpoint_every: must be null in this study, so that there is one "
                "checkpoint for each round."
            )
        self._assessments = assessments
        self._config = config
        self._settings = settings
        self._ensure = executor.ensure
        self.pipeline = Pipeline(config, settings, executor)

    @cached_property
    def verification(self) -> Artifact:
        """Of all rounds."""
        policies = dict(self._policies())
        step = Step(
            "verification",
            "farm.stages.verification:run",
            {
                "verifier": self._config["study"]["verifier"],
                "assessments": self._assessments,
                "split": _SPLIT,
                "limit": self.pipeline.limit(_SPLIT),
            },
            {
                "policy": self.pipeline.policy,
                "instructions": self.pipeline.instructions,
                **{f"{ANSWERS}{name}": outputs for name, outputs in policies.items()},
            },
            seed=0,
            label=f"verification of {len(policies)} policies",
        )
        return self._ensure(step)

    def _policies(self) -> Iterator[tuple[str, Artifact]]:
        """Answers of the policy after each round, and of the start at its temperatures."""
        pipeline, temperature = self.pipeline, self._settings.decoding.temperature
        steps = pipeline.policy.manifest["results"]["checkpoints"]
        yield "0", pipeline.outputs(pipeline.start, _SPLIT, temperature, "start")
        for number, step in enumerate(sorted(map(int, steps)), start=1):
            checkpoint = pipeline.checkpoint(step)
            yield str(number), pipeline.outputs(checkpoint, _SPLIT, temperature, f"round {number}")
        for at in self._settings.evaluation.temperatures:
            yield f"start at temperature {at:g}", pipeline.start_outputs(_SPLIT, at)

    def frame(self, name: str) -> "pd.DataFrame":
        """`candidates`, or the headline's `answers`."""
        import pandas as pd

        rows: pd.DataFrame = pd.read_parquet(self.verification.path / f"{name}.parquet")
        excluded = self._config["data"]["headline_excludes"]
        return rows[~rows["category"].isin(excluded)] if "category" in rows else rows


def _variants(study: SelfTrainingStudy, workshop: Workshop, executor: Executor) -> Variants[Cell]:
    assessments = {
        name: workshop.runs.compose(overrides)["reward"]
        for name, overrides in study.assessments.items()
    }
    make = partial(Cell, assessments)
    return Variants(study, workshop, executor, make)


def carry_out(study: SelfTrainingStudy, workshop: Workshop) -> None:
    """Train, verify, and write the report."""
    with workshop.builder() as builder:
        measured = measure(_variants(study, workshop, builder))
    _report(measured, study, workshop)


def measure(variants: Variants[Cell]) -> Measured:
    """Every variant on every seed."""
    import pandas as pd

    candidates, answers, costs = [], [], []
    for seed, name, cell in variants.cells():
        candidates.append(cell.frame("candidates").assign(seed=seed, variant=name))
        answers.append(cell.frame("answers").assign(seed=seed, variant=name))
        trained = cell.pipeline.policy.manifest["results"]
        cost = {"flops": trained["flops"], "wall_s": trained["wall_s"]}
        costs.append({"seed": seed, "variant": name, **cost})
    return Measured(
        pd.concat(candidates, ignore_index=True),
        pd.concat(answers, ignore_index=True),
        pd.DataFrame(costs),
    )


def _report(measured: Measured, study: SelfTrainingStudy, workshop: Workshop) -> None:
    from farm.reporting.self_training_page import print_self_training, write_self_training
    from farm.studies.self_training_tables import self_training_tables

    tables = self_training_tables(measured, study.baseline)
    workshop.keep({**vars(measured), **tables})
    print_self_training(tables, study.baseline, workshop.console.rich)
    for path in write_self_training(workshop.folder(), tables, study.baseline):
        workshop.console.message(str(path))


def preview(study: SelfTrainingStudy, workshop: Workshop) -> None:
    """Print what would be built, up to the learned policies."""
    planner = workshop.planner()
    variants = _variants(study, workshop, planner)
    with workshop.planned(planner, "Planned stages, up to the learned policies"):
        for _, _, cell in variants.cells():
            _ = cell.pipeline.policy
