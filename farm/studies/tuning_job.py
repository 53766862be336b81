"""The tuning study at work: train, measure, report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from farm.builder import Executor
from farm.measure import Measurement
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.stages.policy import training_metrics
from farm.studies.tuning_study import TuningStudy
from farm.studies.variants import Variants
from farm.studies.workshop import Workshop
from farm.training.compute import BYTES

if TYPE_CHECKING:
    import pandas as pd

_LAST_STEPS = 10


@dataclass(frozen=True)
class Measured:
    """What the study measures."""

    losses: "pd.DataFrame"
    """One row per seed, variant and step: loss."""
    policies: "pd.DataFrame"
    """One row per seed and variant: loss, its mean over the last ten steps; win_rate,
    gold_win_rate and kl_to_start of the last policy on `validation`."""
    costs: "pd.DataFrame"
    """One row per seed and variant: flops, wall_s and the bytes of farm.training.compute."""


class Cell(NamedTuple):
    """One variant on one seed."""

    pipeline: Pipeline
    measurement: Measurement


def _cell(config: Mapping[str, Any], settings: Settings, executor: Executor) -> Cell:
    pipeline = Pipeline(config, settings, executor)
    excluded = frozenset(config["data"]["headline_excludes"])
    return Cell(pipeline, Measurement(pipeline, settings, excluded))


def _variants(study: TuningStudy, workshop: Workshop, executor: Executor) -> Variants[Cell]:
    return Variants(study, workshop, executor, _cell)


def carry_out(study: TuningStudy, workshop: Workshop) -> None:
    """Train, measure, and write the report."""
    with workshop.builder() as builder:
        measured = measure(_variants(study, workshop, builder))
    _report(measured, study, workshop)


def measure(variants: Variants[Cell]) -> Measured:
    """Every variant on every seed."""
    import pandas as pd

    losses, policies, costs = [], [], []
    for seed, name, cell in variants.cells():
        of = {"seed": seed, "variant": name}
        policy = cell.pipeline.policy
        steps = [{**of, "step": m["step"], "loss": m["loss"]}
                 for m in training_metrics(policy.path)]  # fmt: skip
        losses += steps
        last = cell.measurement.curve().rows.iloc[-1]
        figures = {name: last[name] for name in ("win_rate", "gold_win_rate", "kl_to_start")}
        ending = [step["loss"] for step in steps[-_LAST_STEPS:]]
        policies.append({**of, "loss": sum(ending) / len(ending), **figures})
        trained = policy.manifest["results"]
        costs.append({**of, **{key: trained[key] for key in ("flops", "wall_s", *BYTES)}})
    return Measured(*map(pd.DataFrame, (losses, policies, costs)))


def _report(measured: Measured, study: TuningStudy, workshop: Workshop) -> None:
    from farm.reporting.tuning_page import print_tunings, write_tunings
    from farm.studies.tuning_tables import tuning_tables

    tables = tuning_tables(measured, study.baseline)
    workshop.keep(vars(measured))
    print_tunings(tables, study.baseline, workshop.console.rich)
    for path in write_tunings(workshop.folder(), tables, study.baseline):
        workshop.console.message(str(path))


def preview(study: TuningStudy, workshop: Workshop) -> None:
    """Print what would be built, up to the learned policies."""
    planner = workshop.planner()
    variants = _variants(study, workshop, planner)
    with workshop.planned(planner, "Planned stages, up to the learned policies"):
        for _, _, cell in variants.cells():
            _ = cell.pipeline.policy
