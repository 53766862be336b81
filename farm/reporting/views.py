"""The tables that the terminal and the report both show, as rows of text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from farm.reporting.formats import duration, interval, number
from farm.reporting.loading import Run


class Column(NamedTuple):
    """A column of the final table."""

    title: str
    unit: str
    source: str
    """Its column in `final.parquet`; where that has an interval, so has the table."""
    decimals: int


FINAL_COLUMNS = (
    Column("Pool", "%", "pool_preference", 1),
    Column("One annotator", "%", "win_rate", 1),
    Column("Held-out", "%", "held_out_win_rate", 1),
    Column("Gold", "%", "gold_win_rate", 1),
    Column("Gold utility", "", "gold_utility", 2),
    Column("KL", "nats", "kl_to_start", 2),
    Column("Length", "chars", "mean_length", 0),
    Column("Length-controlled", "%", "length_controlled_win_rate", 1),
    Column("Proxy reward", "", "proxy_reward", 2),
    Column("No verdict", "rows", "no_verdict", 0),
)
"""Rates are win rates against the reference."""


def terminal_columns(run: Run) -> tuple[Column, ...]:
    """What fits into 80 characters; the pool without noise where it is known, else the estimate
    by one annotator."""
    pool, one_annotator, *others = FINAL_COLUMNS[:7]
    known = run.final[pool.source].notna().any()
    return (pool if known else one_annotator, *others)


class Cell(NamedTuple):
    """A figure, and its 95 % interval or nothing."""

    value: str
    interval: str


class FinalRow(NamedTuple):
    """A policy of the final table."""

    name: str
    role: str
    cells: tuple[Cell, ...]


class StageRow(NamedTuple):
    """A stage, or several of one kind, and what it took in this run."""

    name: str
    time: str
    """Wall time, or that it was reused."""
    detail: str


_KINDS = {"outputs": "answers to evaluate", "evaluation": "judging and scoring"}
"""Stages of which a run has many; all others go by their label."""


def final_rows(run: Run, columns: Sequence[Column]) -> list[FinalRow]:
    """The final table, in the order of the file; cells are aligned with `columns`."""
    return [_final_row(row, columns) for row in run.final.to_dict("records")]


def _final_row(row: Mapping[Any, Any], columns: Sequence[Column]) -> FinalRow:
    cells = (
        Cell(number(row[c.source], c.decimals), interval(row, c.source, c.decimals))
        for c in columns
    )
    return FinalRow(row["name"], row["role"], tuple(cells))


def stage_rows(run: Run) -> list[StageRow]:
    """Wall time per stage, in the order they ran; evaluations are summed."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for timing in run.info["stages"]:
        name = _KINDS.get(timing["stage"], timing["label"])
        # A run may ask for an artefact twice; the first time tells whether it was built.
        groups.setdefault(name, {}).setdefault(timing["key"], timing)
    return [_stage_row(name, list(timings.values())) for name, timings in groups.items()]


def _stage_row(name: str, timings: Sequence[Mapping[str, Any]]) -> StageRow:
    built = [timing["wall_s"] for timing in timings if not timing["reused"]]
    reused = len(timings) - len(built)
    detail = f"{len(built)} built, {reused} reused" if len(timings) > 1 else ""
    return StageRow(name, duration(sum(built)) if built else "reused", detail)


def total_wall_s(run: Run) -> float:
    """Wall time of all stages that this run built."""
    return float(sum(t["wall_s"] for t in run.info["stages"] if not t["reused"]))


def settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The resolved config as (dotted key, value) lines."""
    for key, value in _leaves(config):
        yield key, "null" if value is None else str(value)


def figures_of(notes: Mapping[str, Any]) -> Iterator[str]:
    """What a stage noted about its result, as `validation accuracy 0.734`."""
    for key, value in _leaves(notes):
        if isinstance(value, int | float):
            decimals = 0 if isinstance(value, int) else 3
            yield f"{key.replace('.', ' ').replace('_', ' ')} {number(value, decimals)}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
