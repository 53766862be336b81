"""The tables that a run prints at its end.

Win rates are percent against the reference, KL is in nats per answer, length in characters; below
a figure stands its 95 % interval. Colour and width are rich's business, so NO_COLOR and plain
pipes are respected.
"""

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farm.reporting.formats import cost, duration
from farm.reporting.loading import Run
from farm.reporting.reward_layouts import NARROW, reward_tables
from farm.reporting.study_sections import print_layout
from farm.reporting.views import Cell, final_rows, stage_rows, terminal_columns, total_wall_s

_STYLES = {"selected": "bold", "reference": "dim"}


def print_tables(run: Run, console: Console) -> None:
    """The final table, how good the reward is, what it cost, and the wall time of every stage."""
    console.print(_final_table(run))
    for layout in reward_tables(run.info, NARROW, ("mean", "section")):
        print_layout(layout, console)
    console.print(f"{_bill(run)}\n", highlight=False)
    console.print(_stage_table(run))


def _bill(run: Run) -> str:
    return ", ".join(
        [
            f"{run.info['labels']:,} labels",
            f"cost {cost(run.info['cost_usd'])}",
            f"wall time {duration(total_wall_s(run))}",
        ]
    )


def _table(title: str) -> Table:
    return Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )


def _final_table(run: Run) -> Table:
    n = run.final["n"].max()
    description = run.info["reference"]["description"]
    table = _table(f"Against {description}; {n:,.0f} evaluation instructions")
    columns = terminal_columns(run)
    table.add_column("Policy", overflow="fold")
    for column in columns:
        heading = f"{column.title}\n{column.unit}" if column.unit else column.title
        table.add_column(heading, justify="right", no_wrap=True)
    for row in final_rows(run, columns):
        style = _STYLES.get(row.role)
        table.add_row(escape(row.name), *(_stacked(cell) for cell in row.cells), style=style)
    return table


def _stacked(cell: Cell) -> str:
    return f"{cell.value}\n{cell.interval}" if cell.interval else cell.value


def _stage_table(run: Run) -> Table:
    table = _table("Wall time")
    table.add_column("Stage")
    table.add_column("Time", justify="right")
    table.add_column("")
    for row in stage_rows(run):
        table.add_row(escape(row.name), row.time, row.detail)
    return table
