"""`report.html`: one run on one page that needs no other file and no network.

Rates are percent against the reference, KL nats per answer, lengths characters, wall time seconds
and cost US dollars. Everything that a model or a data file wrote is escaped by the template.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from farm.evaluation.overoptimization import Overoptimization, overoptimization
from farm.reporting import formats, plots
from farm.reporting.loading import Run, load_run
from farm.reporting.pages import render_page
from farm.reporting.reward_layouts import reward_tables
from farm.reporting.svg import svg
from farm.reporting.views import (
    FINAL_COLUMNS,
    figures_of,
    final_rows,
    settings,
    stage_rows,
    total_wall_s,
)

REPORT = "report.html"


def write_report(run_dir: Path) -> Path:
    """Write the report into the folder of a finished run; returns its path."""
    run = load_run(run_dir)
    path = Path(run_dir) / REPORT
    path.write_text(render(run), encoding="utf-8")
    return path


def render(run: Run) -> str:
    """The page."""
    return render_page(
        "report.html.jinja",
        run=run,
        info=run.info,
        columns=FINAL_COLUMNS,
        final=final_rows(run, FINAL_COLUMNS),
        headline=list(_headline(run)),
        turn=_turn(run),
        reward_model=list(figures_of(run.info["reward_model"] or {})),
        reward_tables=reward_tables(run.info),
        figures=list(_figures(run)),
        curve=run.curve.to_dict("records"),
        stages=stage_rows(run),
        wall_time=formats.duration(total_wall_s(run)),
        cost=formats.cost(run.info["cost_usd"]),
        samples=run.samples.to_dict("records"),
        settings=list(settings(run.config)),
    )


def _headline(run: Run) -> Iterator[dict[str, str]]:
    """The selected checkpoint's win rates, each beside the last checkpoint's."""
    rows = run.final.set_index("role")
    selected, last = (rows.loc[role].to_dict() for role in ("selected", "last"))
    judges = {
        "pool_preference": "by the training pool, noise-free",
        "held_out_win_rate": "by held-out evaluators",
        "gold_win_rate": "by gold",
    }
    for column, title in judges.items():
        yield {
            "title": title,
            "value": formats.number(selected[column]),
            "interval": formats.interval(selected, column),
            "last": formats.number(last[column]),
        }


def _turn(run: Run) -> Overoptimization | None:
    """None where gold does not apply, or where nothing was trained between two checkpoints."""
    if run.curve["gold_utility"].isna().any() or len(run.curve) < 2:
        return None
    return overoptimization(run.items, seed=run.info["seed"])


def _figures(run: Run) -> Iterator[dict[str, Any]]:
    step, curve = run.info["selected_step"], run.curve
    drawn = {
        "Win rates; the dashed line marks the selected checkpoint": (
            plots.win_rate_figure(curve, step),
            [series.column for series in plots.WIN_RATES],
        ),
        "Proxy reward beside gold utility": (
            plots.proxy_and_gold_figure(curve),
            ["proxy_reward", "gold_utility"],
        ),
        "Distance from the start policy": (plots.kl_figure(curve), ["kl_to_start"]),
    }
    for number, (title, (figure, columns)) in enumerate(drawn.items()):
        description = f"{title}. {_in_words(curve, columns)}"
        yield {"title": title, "svg": svg(figure, f"figure-{number}", description)}


def _in_words(curve: pd.DataFrame, columns: list[str]) -> str:
    """From where to where each line goes: the figure for those who do not see it."""
    first, last = curve.iloc[0], curve.iloc[-1]
    return "; ".join(
        f"{column.replace('_', ' ')} from {formats.number(first[column], 2)} at step "
        f"{first['step']:.0f} to {formats.number(last[column], 2)} at step {last['step']:.0f}"
        for column in columns
        if curve[column].notna().any()
    )
