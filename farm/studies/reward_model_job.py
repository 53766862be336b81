"""The reward-model study at work: train, measure, report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from farm.builder import Executor
from farm.evaluation.reward_figures import FIGURES, label_figures
from farm.pipeline import Pipeline
from farm.reward_quality import RewardQuality
from farm.settings import Settings
from farm.studies.reward_model_study import RewardModelStudy
from farm.studies.variants import Variants
from farm.studies.workshop import Workshop

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measured:
    """What the study measures."""

    figures: "pd.DataFrame"
    """One row per seed, variant and kind of `labels`: the columns of
    farm.evaluation.reward_figures, without intervals."""
    costs: "pd.DataFrame"
    """One row per seed and variant: flops and wall_s of training, NaN where nothing learned, and
    unscored, the pairs that lack a score."""


class Cell(NamedTuple):
    """One variant on one seed."""

    pipeline: Pipeline
    quality: RewardQuality


def _cell(config: Mapping[str, Any], settings: Settings, executor: Executor) -> Cell:
    pipeline = Pipeline(config, settings, executor)
    return Cell(pipeline, RewardQuality(config, settings, executor, pipeline))


def _variants(study: RewardModelStudy, workshop: Workshop, executor: Executor) -> Variants[Cell]:
    return Variants(study, workshop, executor, _cell)


def carry_out(study: RewardModelStudy, workshop: Workshop) -> None:
    """Train, measure, and write the report."""
    with workshop.builder() as builder:
        measured = measure(_variants(study, workshop, builder))
    _report(measured, study, workshop)


def measure(variants: Variants[Cell]) -> Measured:
    """Every variant on every seed; headline categories alone."""
    import pandas as pd

    figures, costs = [], []
    for seed, name, cell in variants.cells():
        # Intervals are over seeds, so that one bootstrap sample of instructions is enough.
        found = label_figures(cell.quality.headline(), replicates=1)
        found = found[["labels", "pairs", *FIGURES]]
        figures.append(found.assign(seed=seed, variant=name))
        costs.append({"seed": seed, "variant": name, **_cost(cell)})
    return Measured(pd.concat(figures, ignore_index=True), pd.DataFrame(costs))


def _cost(cell: Cell) -> dict[str, float]:
    trained = cell.pipeline.reward.manifest["results"]
    spent = {name: float(trained.get(name, np.nan)) for name in ("flops", "wall_s")}
    return {**spent, "unscored": cell.quality.items.manifest["results"]["unscored"]}


def _report(measured: Measured, study: RewardModelStudy, workshop: Workshop) -> None:
    from farm.reporting.reward_model_page import print_reward_models, write_reward_models
    from farm.studies.reward_model_tables import reward_model_tables

    tables = reward_model_tables(measured, study)
    workshop.keep(vars(measured))
    print_reward_models(tables, study.baseline, workshop.console.rich)
    for path in write_reward_models(workshop.folder(), tables, study.baseline):
        workshop.console.message(str(path))


def preview(study: RewardModelStudy, workshop: Workshop) -> None:
    """Print what would be built."""
    planner = workshop.planner()
    variants = _variants(study, workshop, planner)
    with workshop.planned(planner):
        for _, _, cell in variants.cells():
            _ = cell.quality.items
