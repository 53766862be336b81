"""The ranking study at work: plan, measure, report."""

from farm.builder import Executor, NotBuilt
from farm.errors import DataError
from farm.studies.grid import Grid
from farm.studies.measure import Measured, bill, judged, measure
from farm.studies.ranking_study import RankingStudy
from farm.studies.workshop import Workshop

_PILOT_SEEDS = 2
"""The fewest that show a variance between seeds."""


def _checked_grid(study: RankingStudy, workshop: Workshop, executor: Executor) -> Grid:
    """The grid, each of its cells' configurations checked, so that a mistake shows at once."""
    grid = Grid(study, workshop.runs, executor)
    grid.check()
    return grid


def carry_out(study: RankingStudy, workshop: Workshop) -> None:
    """Train, judge, and write the report."""
    with workshop.builder() as builder:
        measured = measure(_checked_grid(study, workshop, builder), study)
    _report(measured, study, workshop)


def _report(measured: Measured, study: RankingStudy, workshop: Workshop) -> None:
    from farm.reporting.study_page import print_study, write_study
    from farm.studies.tables import study_tables

    tables = study_tables(measured, study)
    workshop.keep(vars(measured))
    write_study(workshop.folder(), tables, human=study.human)
    print_study(tables, workshop.console.rich)
    workshop.console.message(str(workshop.folder() / "study.html"))


def preview(study: RankingStudy, workshop: Workshop) -> None:
    """Print what would be built, up to the learned policies."""
    planner = workshop.planner()
    grid = _checked_grid(study, workshop, planner)
    with workshop.planned(planner, "Planned stages, up to the learned policies"):
        for seed in study.seeds:
            for annotators in study.annotators:
                for method in grid.methods:
                    _ = grid.pipeline(seed, annotators, method).policy


def plan(study: RankingStudy, workshop: Workshop) -> None:
    """Print what a larger study needs, from the seeds whose policies are all there."""
    import pandas as pd

    from farm.reporting.study_page import print_plan
    from farm.studies.plan import differences, plan_table
    from farm.studies.rankings import values

    grid = _checked_grid(study, workshop, workshop.finder())
    annotators, frames, bills = study.annotators[0], [], []
    for seed in study.seeds:
        try:
            found = list(judged(grid, seed, annotators))
            bills.append(bill(grid, seed, annotators))
        except NotBuilt:
            workshop.console.message(f"seed {seed}: not finished, left out")
        else:
            frames += found
    if len(bills) < _PILOT_SEEDS:
        raise DataError(
            f"a plan needs the policies of at least two seeds, and {workshop.settings.runs_dir}/"
            f"store has those of {len(bills)}. Run a pilot first: the same command without "
            f"study.plan=true, with study.seeds=[{study.seeds[0]},{study.seeds[0] + 1}] for "
            "instance."
        )
    policies = grid.headline(pd.concat(frames, ignore_index=True))
    components = differences(values(policies[policies["learned"]], annotators, annotators))
    table = plan_table(components, bills[0], study.detect)
    print_plan(components, table, workshop.console.rich)
