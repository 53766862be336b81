"""The methods of a comparison with their trials, and which trial of each wins."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from farm.builder import Executor
from farm.errors import ConfigError
from farm.measure import Curve, Measurement
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.studies.comparison_study import OWN, ComparisonStudy
from farm.studies.runs import Runs
from farm.types import Need

if TYPE_CHECKING:
    import pandas as pd

LEARNS_FROM: frozenset[Need] = frozenset({"demonstrations", "judgments", "reward", "annotator"})
"""What a method that takes part needs one of."""
NOT_FROM: frozenset[Need] = frozenset({"text"})
"""What it does not need: who learns from raw text learns something else (study=stability)."""


@dataclass(frozen=True)
class Trial:
    """A method with some of its keys."""

    method: str
    number: int
    """Among the method's trials, from 1."""
    overrides: tuple[str, ...]

    @property
    def settings(self) -> str:
        """The keys without the name of their node."""
        own = (override.lstrip("+").removeprefix(OWN) for override in self.overrides)
        return " ".join(own) or "as its yaml says"


class Cell(NamedTuple):
    """One run of the study."""

    pipeline: Pipeline
    measurement: Measurement


class Trials:
    """All trials by method, and the runs they make."""

    def __init__(
        self, study: ComparisonStudy, runs: Runs, executor: Executor, say: Callable[[str], None]
    ) -> None:
        """`say` is told of every run when it is first asked for."""
        self._executor = executor
        self._say = say
        self._compose = cache(runs.compose)
        self.cell = cache(self._cell)
        self.by_method = {
            method: [
                Trial(method, number, tuple(overrides))
                for number, overrides in enumerate(study.trials.get(method, ()), start=1)
            ]
            for method in runs.methods(study.methods, LEARNS_FROM, NOT_FROM)
        }
        runs.check_methods("trials", study.trials)
        _check_equal({method: len(trials) for method, trials in self.by_method.items()})

    @property
    def all(self) -> list[Trial]:
        """Those of the first method first."""
        return [trial for trials in self.by_method.values() for trial in trials]

    def check(self) -> None:
        """Compose and check every trial, so that a mistake shows before anything runs."""
        for trial in self.all:
            try:
                self._compose(_overrides(trial))
            except ConfigError as error:
                where = f"in trial {trial.number} of study.trials.{trial.method}"
                raise ConfigError(f"{error} ({where})") from None

    def _cell(self, seed: int, trial: Trial) -> Cell:
        self._say(f"{trial.method}, {trial.settings}, seed {seed}:")
        config = {**self._compose(_overrides(trial)), "seed": seed}
        settings = Settings.from_plain(config)
        pipeline = Pipeline(config, settings, self._executor)
        excluded = frozenset(config["data"]["headline_excludes"])
        return Cell(pipeline, Measurement(pipeline, settings, excluded))


def _overrides(trial: Trial) -> tuple[str, ...]:
    return (f"method={trial.method}", *trial.overrides)


def _check_equal(counts: dict[str, int]) -> None:
    """Raise ConfigError unless all methods have the same number of trials, naming those that have
    more or fewer than most."""
    numbers = list(counts.values())
    usual = max(numbers, key=lambda number: (numbers.count(number), number))
    odd = [f"{method} has {number}" for method, number in counts.items() if number != usual]
    if odd:
        raise ConfigError(
            f"study.trials: all methods need as many. Most have {usual}, but {', '.join(odd)}."
        )
    if not usual:
        raise ConfigError(
            f"study.trials: {', '.join(counts)} have none. Give each as many, at least one; [[]] "
            "is a method as its yaml says."
        )


def tuned(trials: Trials, study: ComparisonStudy) -> "pd.DataFrame":
    """One row per method, trial and tuning seed: settings, win_rate of the selected checkpoint on
    `validation` with its interval, its step, and among how many checkpoints it was selected."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "method": trial.method,
                "trial": trial.number,
                "settings": trial.settings,
                "seed": seed,
                **_selected(trials.cell(seed, trial).measurement.curve()),
            }
            for trial in trials.all
            for seed in study.tuning_seeds
        ]
    )


def _selected(curve: Curve) -> dict[str, float]:
    checkpoints = curve.rows[curve.rows["step"] > 0]
    row = checkpoints[checkpoints["step"] == curve.selected_step].to_dict("records")[0]
    figures = {name: row[name] for name in ("win_rate", "win_rate_low", "win_rate_high")}
    return {**figures, "step": curve.selected_step, "checkpoints": len(checkpoints)}


def winners(tuned: "pd.DataFrame") -> dict[str, int]:
    """By method, the number of the trial with the highest mean win rate; of equal ones the
    first."""
    means = tuned.groupby(["method", "trial"])["win_rate"].mean().reset_index()
    best = means.loc[means.groupby("method")["win_rate"].idxmax()]
    return dict(zip(best["method"], best["trial"], strict=True))
