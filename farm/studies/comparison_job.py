"""The comparison at work: tune, measure, report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.builder import Executor, NotBuilt
from farm.spending import Spending
from farm.studies.comparison_study import ComparisonStudy
from farm.studies.trials import Cell, Trial, Trials, tuned, winners
from farm.studies.workshop import Workshop

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """What a comparison measures."""

    trials: "pd.DataFrame"
    """See `farm.studies.trials.tuned`; `chosen` says which trials won."""
    answers: "pd.DataFrame"
    """One row per seed, policy and instruction of `evaluation`, headline categories alone: the
    columns of farm.evaluation.summary, and policy, role (learned, reference, start, control)."""
    costs: "pd.DataFrame"
    """One row per seed and policy: role, step, settings, judgments, prompts, flops, wall_s, and
    drawn, the answers that are drawn for one that is given."""


def carry_out(study: ComparisonStudy, workshop: Workshop) -> None:
    """Tune, train, judge, and write the report."""
    with workshop.builder() as builder:
        compared = compare(_checked_trials(study, workshop, builder), study)
    _report(compared, workshop)


def _checked_trials(study: ComparisonStudy, workshop: Workshop, executor: Executor) -> Trials:
    trials = Trials(study, workshop.runs, executor, workshop.console.message)
    trials.check()
    return trials


def compare(trials: Trials, study: ComparisonStudy) -> Compared:
    """Everything that the report is made from."""
    import pandas as pd

    tuning = tuned(trials, study)
    best = winners(tuning)
    chosen = tuning["method"].map(best) == tuning["trial"]
    looks = [look for seed in study.seeds for look in _looks(trials, seed, best)]
    answers = pd.concat([items.assign(**of) for of, _, items in looks], ignore_index=True)
    costs = pd.DataFrame([{**of, **cost} for of, cost, _ in looks])
    return Compared(tuning.assign(chosen=chosen), answers, costs)


def _looks(
    trials: Trials, seed: int, best: Mapping[str, int]
) -> Iterator[tuple[Row, Row, "pd.DataFrame"]]:
    """For every policy of a seed: whose, at what cost, its items on `evaluation`."""
    won = [trials.by_method[method][number - 1] for method, number in best.items()]
    for trial in won:
        cell = trials.cell(seed, trial)
        step = cell.measurement.curve().selected_step
        items = cell.measurement.headline(cell.measurement.learned(step, "selected"))
        yield _of(seed, trial.method, "learned"), _cost(cell, trial, step), items
    measurement = trials.cell(seed, won[0]).measurement
    for control in measurement.controls():
        cost = {**dict.fromkeys(("judgments", "prompts", "flops", "wall_s"), 0.0), "step": 0}
        items = measurement.headline(control.items)
        yield _of(seed, control.name, control.role), {**cost, "drawn": control.drawn}, items


def _of(seed: int, policy: str, role: str) -> Row:
    return {"seed": seed, "policy": policy, "role": role}


def _cost(cell: Cell, trial: Trial, step: int) -> Row:
    spending = Spending(cell.pipeline)
    return {
        "step": step,
        "settings": trial.settings,
        "judgments": spending.judgments(),
        "prompts": spending.prompts,
        "flops": spending.flops,
        "wall_s": spending.wall_s,
        "drawn": cell.measurement.drawn(step),
    }


def _report(compared: Compared, workshop: Workshop) -> None:
    from farm.reporting.comparison_page import print_comparison, write_comparison
    from farm.studies.comparison_tables import comparison_tables

    tables = comparison_tables(compared)
    workshop.keep(vars(compared))
    print_comparison(tables, workshop.console.rich)
    for path in write_comparison(workshop.folder(), tables):
        workshop.console.message(str(path))


def preview(study: ComparisonStudy, workshop: Workshop) -> None:
    """Print what would be built, up to the learned policies."""
    planner = workshop.planner()
    trials = _checked_trials(study, workshop, planner)
    with workshop.planned(planner, "Planned stages, up to the learned policies"):
        for seed in study.tuning_seeds:
            for trial in trials.all:
                _ = trials.cell(seed, trial).pipeline.policy
        best = _known_winners(study, workshop)
        if best is None:
            workshop.console.message(
                "Until all trials are there, the first of each method stands for the best:"
            )
            best = dict.fromkeys(trials.by_method, 1)
        for seed in study.seeds:
            for method, number in best.items():
                _ = trials.cell(seed, trials.by_method[method][number - 1]).pipeline.policy


def _known_winners(study: ComparisonStudy, workshop: Workshop) -> dict[str, int] | None:
    """None where trials are missing."""
    try:
        trials = Trials(study, workshop.runs, workshop.finder(), say=lambda _: None)
        return winners(tuned(trials, study))
    except NotBuilt:
        return None
