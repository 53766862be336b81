"""The report of a study: tables, figures, a page that needs no other file, and the terminal.

Rates are percent against the reference. Everything that a configuration or a model wrote is
escaped by the template.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from farm.evaluation.variance import Components
from farm.reporting import study_figures as figures
from farm.reporting import study_layouts as layouts
from farm.reporting import study_words as words
from farm.reporting.formats import NOT_APPLICABLE, cost, number
from farm.reporting.study_sections import (
    INTERVALS,
    Drawn,
    Section,
    empty_table,
    print_layout,
    write_page,
    write_tables,
)
from farm.studies.plan import LEVEL, POWER
from farm.studies.rankings import GOLD

Tables = Mapping[str, pd.DataFrame]


def write_study(folder: Path, tables: Tables, *, human: str) -> None:
    """Write each table as NAME.csv, each figure as NAME.png, and `study.html`."""
    intro = f"People are {human}. {INTERVALS}"
    sections = list(_sections(tables, human))
    write_tables(folder, tables)
    write_page(folder / "study.html", intro, words.summary(tables, human), sections)


def _sections(tables: Tables, human: str) -> Iterator[Section]:
    """Those that the study has anything on."""
    yield _rankings(tables, human)
    yield _win_rates(tables)
    if not tables["controls"].empty:
        yield _controls(tables)
    if not tables["dose_response"].empty:
        yield _doses(tables["dose_response"])
    if not tables["turning_points"].empty:
        yield _overoptimization(tables)
    if not tables["variance"].empty:
        title = "Where the variance comes from"
        yield Section("variance", title, [], [layouts.variance(tables["variance"])])


def _rankings(tables: Tables, human: str) -> Section:
    caption = (
        f"Every policy's win rate by {human} and in simulation, where each side trains and judges; "
        "95 % intervals over seeds and instructions; on the dashed line both agree"
    )
    figure = figures.ranking_figure(tables["win_rates"], tables["correlations"], human)
    return Section(
        "rankings",
        "Does the simulation rank policies as people do?",
        [Drawn("ranking", caption, figure)],
        [layouts.correlations(tables["correlations"]), layouts.places(tables["places"])],
    )


def _win_rates(tables: Tables) -> Section:
    frame = tables["win_rates"]
    judges = layouts.judges(frame, tables["dose_response"])
    first, *others = (
        layouts.win_rates(frame, str(name), judges) for name in frame["annotators"].unique()
    )
    return Section("win-rates", "Win rates", [], [first], others)


def _controls(tables: Tables) -> Section:
    frame = tables["controls"]
    judges = layouts.judges(tables["win_rates"], tables["dose_response"])
    shown = [layouts.win_rates(frame, str(name), judges) for name in frame["annotators"].unique()]
    return Section("controls", "Controls", [], shown)


def _doses(frame: pd.DataFrame) -> Section:
    caption = "What a dialled bias of the judge does to its ranking and to its choice"
    drawn = Drawn("dose_response", caption, figures.dose_figure(frame))
    return Section("biases", "Dialled biases", [drawn], [layouts.dose_response(frame)])


def _overoptimization(tables: Tables) -> Section:
    judges = layouts.judges(tables["win_rates"], tables["dose_response"])
    judges.pop(GOLD, None)  # its utility is shown
    turns, laws = tables["turning_points"], tables["laws"]
    return Section(
        "over-optimisation",
        "Over-optimisation",
        [
            Drawn(
                "overoptimization",
                "Who labelled (lines) and who evaluates (columns): win rates in percent, the "
                "reward model's own scores and gold utility; means over seeds with 95 % bands "
                "over seeds",
                figures.followed_figure(tables["followed"], judges),
            ),
            Drawn(
                "failures",
                "The same answers by proxy, by the annotators' own judge (pool) and by gold, for "
                "each annotators; means over seeds with 95 % bands over seeds",
                figures.failures_figure(tables["failures"]),
            ),
        ],
        [
            layouts.turning_points(turns),
            layouts.failures(tables["failures"]),
            layouts.alarms(tables["alarms"]),
        ],
        [layouts.turning_points_by_seed(turns), *([] if laws.empty else [layouts.laws(laws)])],
    )


def print_study(tables: Tables, console: Console) -> None:
    """Correlations, places and turning points."""
    shown = [
        layouts.correlations(tables["correlations"], ["spearman"]),
        layouts.places(tables["places"], [layouts.RANK]),
    ]
    if not tables["turning_points"].empty:
        shown.append(layouts.turning_points(tables["turning_points"]))
    for layout in shown:
        print_layout(layout, console)


def print_plan(components: Components, table: pd.DataFrame, console: Console) -> None:
    """What a larger study needs, from the tables of farm.studies.plan."""
    spread = {name: number(value**0.5) for name, value in components.variances.items()}
    console.print(
        f"In a pilot of {components.levels['seed']:.0f} seeds and "
        f"{components.levels['instruction']:,.0f} instructions, the difference between two learned "
        f"policies' win rates has a standard deviation of {spread['seed']} points between seeds, "
        f"{spread['instruction']} points between instructions and {spread['residual']} points in "
        "what only one seed does on one instruction (of the mean variances of all pairs).\n"
    )
    shown = empty_table(f"To find a difference with {POWER:.0%} power at {LEVEL:.0%}")
    for heading in (
        "Difference\npoints",
        "Claims\nat once",
        "Seeds",
        "Instructions",
        "Labels",
        "USD",
    ):
        shown.add_column(heading, justify="right")
    for (difference, claims), rows in table.groupby(["difference", "claims"], sort=False):
        for row in rows.to_dict("records"):
            shown.add_row(
                number(difference), number(claims, 0), number(row["seeds"], 0), *_needs(row)
            )
        shown.add_section()
    console.print(shown)
    console.print(
        "Instructions are of one evaluation split and judged for every policy; where no number of "
        "them is enough, only more seeds help. Claims made at once share the level (Bonferroni)."
    )


def _needs(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """Instructions, labels and dollars."""
    if pd.isna(row["instructions"]):
        return "no number is enough", NOT_APPLICABLE, NOT_APPLICABLE
    usd = "price not known" if pd.isna(row["usd"]) else cost(row["usd"])
    return number(row["instructions"], 0), number(row["labels"], 0), usd
