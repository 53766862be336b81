"""Sweeps: what became of each job, and the table that ends them."""

import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console
from rich.markup import escape

from farm.artifacts import key_of
from farm.errors import FarmError

if TYPE_CHECKING:
    from farm.reporting.views import Column


class Outcome(NamedTuple):
    """What became of a job."""

    status: int
    """The exit status that the job alone would have had."""
    wall_s: float | None
    """None where nobody was left to measure it."""
    error: str = ""
    """Its first line; empty where nothing failed."""


def attempt(action: Callable[[], int]) -> Outcome:
    """Run a job. Its failures are printed and returned, not raised."""
    started = time.monotonic()
    try:
        status = action()
    except FarmError as error:
        print(f"error: {error}", file=sys.stderr)
        return failed(error, time.monotonic() - started)
    except Exception as error:
        print(traceback.format_exc(), end="", file=sys.stderr)
        return failed(error, time.monotonic() - started)
    return Outcome(status, time.monotonic() - started)


def failed(error: Exception, wall_s: float | None = None) -> Outcome:
    """The outcome of a job that this ended."""
    if isinstance(error, FarmError):
        status, text = error.exit_code, str(error)
    else:
        status, text = 1, f"{type(error).__name__}: {error}"
    return Outcome(status, wall_s, text.partition("\n")[0])


def outcome_of(result: JobReturn) -> Outcome:
    """What a launcher brings of a job whose task is an `attempt`."""
    outcome = result._return_value
    return outcome if result.status is JobStatus.COMPLETED else failed(outcome)


def status_of(outcomes: Sequence[Outcome]) -> int:
    """The exit status of a sweep: that of its first job that failed, else 0."""
    return next((outcome.status for outcome in outcomes if outcome.status), 0)


def labels(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Names for jobs: the overrides of each that not all of them have."""
    shared = set(jobs[0]).intersection(*jobs[1:]) if len(jobs) > 1 else set()
    return [" ".join(override for override in job if override not in shared) for job in jobs]


class Job(NamedTuple):
    """A line of the table."""

    label: str
    config: Mapping[str, Any]
    """As the job resolved it."""
    outcome: Outcome


class _Line(NamedTuple):
    """What is known of a job."""

    job: Job
    folder: Path | None
    """Of its run, where the job came so far as to have one."""
    figures: Mapping[str, Any]
    """Of the selected checkpoint on `evaluation`, where the run has them."""


def print_table(jobs: Sequence[Job]) -> None:
    """Each job's overrides and run folder, how it ended, headline figures (percent against the
    run's reference) and wall time; the first line of the error where it failed."""
    from farm.reporting.formats import NOT_APPLICABLE, duration, number
    from farm.reporting.study_sections import empty_table

    lines = [_line(job) for job in jobs]
    columns = _columns(lines)
    well = sum(job.outcome.status == 0 for job in jobs)
    table = empty_table(f"{well} of {len(jobs)} jobs finished")
    table.add_column("", justify="right")
    table.add_column("Job and its run", overflow="fold")
    table.add_column("Status")
    for column in columns:
        table.add_column(f"{column.title}\n{column.unit}", justify="right")
    table.add_column("Time", justify="right")
    for index, line in enumerate(lines):
        outcome = line.job.outcome
        said = (line.job.label, str(line.folder or ""), outcome.error)
        figures = (number(line.figures.get(c.source), c.decimals) for c in columns)
        wall = NOT_APPLICABLE if outcome.wall_s is None else duration(outcome.wall_s)
        status = f"failed ({outcome.status})" if outcome.status else "finished"
        table.add_row(str(index), escape("\n".join(filter(None, said))), status, *figures, wall)
    Console(highlight=False).print(table)


def _columns(lines: Sequence[_Line]) -> list["Column"]:
    """The win rates that are known; one annotator's where the pool's is not."""
    from farm.reporting.views import FINAL_COLUMNS

    pool, one_annotator, held_out, gold = FINAL_COLUMNS[:4]
    known = [c for c in (pool, held_out, gold) if _known(c, lines)]
    return known if pool in known or not _known(one_annotator, lines) else [one_annotator, *known]


def _known(column: "Column", lines: Sequence[_Line]) -> bool:
    import pandas as pd

    return any(pd.notna(line.figures.get(column.source)) for line in lines)


def _line(job: Job) -> _Line:
    folder = _run_folder(job)
    finished = folder is not None and job.outcome.status == 0
    return _Line(job, folder, _headline(folder) if folder and finished else {})


def _run_folder(job: Job) -> Path | None:
    """The newest run of the job's configuration that has come as far as the job has."""
    key, finished = key_of(job.config), job.outcome.status == 0
    for path in sorted(Path(job.config["runs_dir"]).glob("*/run.json"), reverse=True):
        info = json.loads(path.read_text())
        if info["config_key"] == key and (info["status"] == "finished") == finished:
            return path.parent
    return None


def _headline(folder: Path) -> Mapping[str, Any]:
    import pandas as pd

    final = pd.read_parquet(folder / "final.parquet").set_index("role")
    return {str(name): value for name, value in final.loc["selected"].items()}
