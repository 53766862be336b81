"""Everything that a study measures, as rows, and what it cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.stages.evaluation import load_items
from farm.studies.grid import Grid
from farm.studies.plan import Bill
from farm.studies.ranking_study import RankingStudy

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measured:
    """One row per answer, with the columns of farm.stages.crossing behind those named here."""

    policies: "pd.DataFrame"
    """seed, annotators, policy, learned, step; one answer to each instruction of `evaluation`."""
    controls: "pd.DataFrame"
    """The same of what learned from the controls' labels; empty where there are none."""
    checkpoints: "pd.DataFrame"
    """seed, annotators, step, and the scores of other seeds' reward models; on `validation`."""
    samples: "pd.DataFrame"
    """seed, annotators; many answers of the start to each instruction of `validation`."""


def measure(grid: Grid, study: RankingStudy) -> Measured:
    """Train, judge and score all that the study crosses; headline categories alone."""
    import pandas as pd

    policies, checkpoints, samples = [], [], []
    controls = [pd.DataFrame()]
    for seed in study.seeds:
        for annotators in study.annotators:
            policies += list(judged(grid, seed, annotators))
            for step, items in grid.checkpoints(seed, annotators):
                checkpoints.append(items.assign(seed=seed, annotators=annotators, step=step))
            samples.append(grid.samples(seed, annotators).assign(seed=seed, annotators=annotators))
        for annotators in study.controls:
            controls += list(judged(grid, seed, annotators))
    rows = (policies, controls, checkpoints, samples)
    frames = [pd.concat(row, ignore_index=True) for row in rows]
    return Measured(*(frame if frame.empty else grid.headline(frame) for frame in frames))


def judged(grid: Grid, seed: int, annotators: str) -> Iterator["pd.DataFrame"]:
    """The answers of every policy to `evaluation`, with the judges' verdicts."""
    for policy in grid.policies(seed, annotators):
        items = load_items(grid.judged(seed, annotators, policy).path)
        yield items.assign(
            seed=seed,
            annotators=annotators,
            policy=policy.name,
            learned=policy.learned,
            step=policy.step,
        )


def bill(grid: Grid, seed: int, annotators: str) -> Bill:
    """What labels and verdicts of one seed cost."""
    labels = grid.labels(seed, annotators).manifest["results"]
    policies = list(grid.policies(seed, annotators))
    verdicts = [grid.judged(seed, annotators, one).manifest["results"] for one in policies]
    return Bill(
        labels_per_seed=labels["labels"],
        usd_per_label=_each([labels["cost_usd"]], labels["labels"]),
        usd_per_verdict=_each(
            [v["cost_usd"] for v in verdicts], sum(v["labels"] for v in verdicts)
        ),
        policies=sum(policy.learned for policy in policies),
    )


def _each(usd: list[float | None], count: int) -> float | None:
    """Dollars for one, None where a price is not known; programs were asked for none."""
    known = [one for one in usd if one is not None]
    return sum(known) / max(count, 1) if len(known) == len(usd) else None
