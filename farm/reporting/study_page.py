"""The report of a study: tables, figures, a page that needs no other file, and the terminal.

Rates are percent against the reference. Everything that a configuration or a model wrote is
escaped by the template.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farm.evaluation.variance import Components
from farm.reporting import study_figures as figures
from farm.reporting import study_layouts as layouts
from farm.reporting import study_words as words
from farm.reporting.formats import NOT_APPLICABLE, cost, number
from farm.reporting.pages import render_page
from farm.reporting.study_layouts import Layout
from farm.reporting.svg import svg
from farm.studies.plan import LEVEL, POWER
from farm.studies.rankings import GOLD

Tables = Mapping[str, pd.DataFrame]

_PNG_DPI = 150


class Drawn(NamedTuple):
    """A figure, and what it shows in words."""

    name: str
    caption: str
    figure: Figure


class Section(NamedTuple):
    """A part of the page."""

    name: str
    title: str
    figures: Sequence[Drawn]
    tables: Sequence[Layout]
    folded: Sequence[Layout] = ()
    """Tables to unfold."""


def write_study(folder: Path, tables: Tables, *, human: str) -> None:
    """Write each table as NAME.csv, each figure as NAME.png, and `study.html`."""
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    sections = list(_sections(tables, human))
    drawings = {}
    for drawn in (drawn for section in sections for drawn in section.figures):
        drawn.figure.savefig(folder / f"{drawn.name}.png", dpi=_PNG_DPI)
        drawings[drawn.name] = svg(drawn.figure, drawn.name, drawn.caption)
    page = render_page(
        "study.html.jinja",
        name=folder.name,
        human=human,
        summary=words.summary(tables, human),
        sections=sections,
        drawings=drawings,
    )
    (folder / "study.html").write_text(page, encoding="utf-8")


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
        console.print(_rich(layout))


def _rich(layout: Layout) -> Table:
    table = _empty(layout.title)
    for heading in layout.names.values():
        table.add_column(escape(heading), overflow="fold")
    for column in layout.figures:
        heading = f"{column.title}\n{column.unit}" if column.unit else column.title
        table.add_column(escape(heading), justify="right")
    for texts, cells in layout.lines:
        figures_ = (f"{c.value}\n{c.interval}" if c.interval else c.value for c in cells)
        table.add_row(*map(escape, texts), *figures_)
    return table


def _empty(title: str) -> Table:
    return Table(
        title=escape(title), title_justify="left", title_style="bold",
        box=SIMPLE, pad_edge=False, collapse_padding=True,
    )  # fmt: skip


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
    shown = _empty(f"To find a difference with {POWER:.0%} power at {LEVEL:.0%}")
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
