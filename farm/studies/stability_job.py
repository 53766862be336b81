"""The stability study at work: read on, measure along the way, report."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from farm.artifacts import Artifact
from farm.builder import Executor, Step
from farm.pipeline import Pipeline
from farm.seeds import derive
from farm.settings import Settings
from farm.studies.stability_study import StabilityStudy
from farm.studies.variants import Variants
from farm.studies.workshop import Workshop
from farm.types import SplitName

if TYPE_CHECKING:
    import pandas as pd

_SPLIT: SplitName = "validation"


@dataclass(frozen=True)
class Measured:
    """What the study measures."""

    skills: "pd.DataFrame"
    """One row per seed, variant, step and source of instructions: score, its mean over them, and
    instructions, their number."""
    readings: "pd.DataFrame"
    """One row per seed, variant and step: text_loss, bottom_update and top_update of
    farm.stages.skills."""
    costs: "pd.DataFrame"
    """One row per seed and variant: flops and wall_s of training."""


class Cell:
    """One variant on one seed."""

    def __init__(self, config: Mapping[str, Any], settings: Settings, executor: Executor) -> None:
        self._config = config
        self._settings = settings
        self._ensure = executor.ensure
        self.pipeline = Pipeline(config, settings, executor)

    @cached_property
    def skills(self) -> Artifact:
        """The start and all checkpoints, measured."""
        config, pipeline = self._config, self.pipeline
        steps = pipeline.policy.manifest["results"]["checkpoints"]
        step = Step(
            "skills",
            "farm.stages.skills:run",
            {
                "scorer": config["study"]["score"],
                "texts": config["study"]["texts"],
                "blocks": config["study"]["blocks"],
                "split": _SPLIT,
                "limit": pipeline.limit(_SPLIT),
                "sampler": config["sampler"],
                "decoding": {
                    "temperature": config["study"]["temperature"],
                    "max_new_tokens": self._settings.decoding.max_new_tokens,
                },
            },
            {
                "start": pipeline.start,
                "instructions": pipeline.instructions,
                **{number: pipeline.checkpoint(int(number)) for number in steps},
            },
            seed=derive(self._settings.seed, "stage", "skills"),
            label=f"skills at {len(steps)} checkpoints",
        )
        return self._ensure(step)


def _variants(study: StabilityStudy, workshop: Workshop, executor: Executor) -> Variants[Cell]:
    return Variants(study, workshop, executor, Cell)


def carry_out(study: StabilityStudy, workshop: Workshop) -> None:
    """Train, measure, and write the report."""
    with workshop.builder() as builder:
        measured = measure(_variants(study, workshop, builder))
    _report(measured, study, workshop)


def measure(variants: Variants[Cell]) -> Measured:
    """Every variant on every seed."""
    import pandas as pd

    skills, readings, costs = [], [], []
    for seed, name, cell in variants.cells():
        items = pd.read_parquet(cell.skills.path / "items.parquet")
        scores = items.groupby(["step", "source"])["score"].agg(score="mean", instructions="size")
        skills.append(scores.reset_index().assign(seed=seed, variant=name))
        readings.append(
            pd.read_parquet(cell.skills.path / "steps.parquet").assign(seed=seed, variant=name)
        )
        trained = cell.pipeline.policy.manifest["results"]
        spent = {figure: trained[figure] for figure in ("flops", "wall_s")}
        costs.append({"seed": seed, "variant": name, **spent})
    return Measured(
        pd.concat(skills, ignore_index=True),
        pd.concat(readings, ignore_index=True),
        pd.DataFrame(costs),
    )


def _report(measured: Measured, study: StabilityStudy, workshop: Workshop) -> None:
    from farm.reporting.stability_page import print_stability, write_stability
    from farm.studies.stability_tables import stability_tables

    tables = stability_tables(measured, study.baseline)
    workshop.keep(vars(measured))
    print_stability(tables, study.baseline, workshop.console.rich)
    for path in write_stability(workshop.folder(), tables, study.baseline):
        workshop.console.message(str(path))


def preview(study: StabilityStudy, workshop: Workshop) -> None:
    """Print what would be built, up to the learned policies."""
    planner = workshop.planner()
    variants = _variants(study, workshop, planner)
    with workshop.planned(planner, "Planned stages, up to the learned policies"):
        for _, _, cell in variants.cells():
            _ = cell.pipeline.policy
