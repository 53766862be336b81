"""The study of speculative sampling at work: train, measure, report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from farm.artifacts import Artifact
from farm.builder import Executor
from farm.config import build
from farm.errors import ConfigError
from farm.pipeline import Pipeline
from farm.settings import Settings
from farm.studies.speculation_study import SpeculationStudy
from farm.studies.workshop import Workshop

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measured:
    """What the study measures, of the stage `farm.stages.speculation`."""

    settings: "pd.DataFrame"
    """One row per seed, rule and `value`."""
    bins: "pd.DataFrame"
    """One row per seed, rule and bin of its estimates."""


class Part(NamedTuple):
    """One rule on one seed."""

    seed: int
    rule: str
    artifact: Artifact


class Rule(NamedTuple):
    """A rule, ready to run."""

    config: Mapping[str, Any]
    """Of a run with its first value."""
    ways: list[Mapping[str, Any]]
    """Nodes of the group `decoding`, one for each value."""


def _rules(study: SpeculationStudy, workshop: Workshop) -> dict[str, Rule]:
    """By name, composed and checked before anything runs."""
    found = {}
    for name, rule in study.settings.items():
        first = f"{rule.key}={rule.values[0]}"
        try:
            config = workshop.runs.compose([*rule.overrides, first])
            ways = [dialled(config, rule.key, value)["decoding"] for value in rule.values]
            for way in ways:
                build(way)
        except ConfigError as error:
            raise ConfigError(f"{error} (in study.rules.{name})") from None
        found[name] = Rule(config, ways)
    return found


def dialled(config: Mapping[str, Any], key: str, value: float) -> Mapping[str, Any]:
    """The configuration with another value for a key that it has."""
    first, _, rest = key.partition(".")
    return {**config, first: dialled(config[first], rest, value) if rest else value}


def _parts(
    study: SpeculationStudy, rules: Mapping[str, Rule], executor: Executor
) -> Iterator[Part]:
    for seed in study.seeds:
        for name, rule in rules.items():
            config = {**rule.config, "seed": seed}
            pipeline = Pipeline(config, Settings.from_plain(config), executor)
            yield Part(seed, name, pipeline.speculation(rule.ways, f"{name}, seed {seed}"))


def carry_out(study: SpeculationStudy, workshop: Workshop) -> None:
    """Train, measure, and write the report."""
    rules = _rules(study, workshop)
    with workshop.builder() as builder:
        measured = _measured(study, list(_parts(study, rules, builder)))
    _report(measured, study, workshop)


def _measured(study: SpeculationStudy, parts: list[Part]) -> Measured:
    import pandas as pd

    settings, bins = [], []
    for seed, name, artifact in parts:
        values = [float(value) for value in study.settings[name].values]
        rows = pd.read_parquet(artifact.path / "settings.parquet")
        settings.append(rows.assign(seed=seed, rule=name, value=values))
        bins.append(pd.read_parquet(artifact.path / "bins.parquet").assign(seed=seed, rule=name))
    return Measured(pd.concat(settings, ignore_index=True), pd.concat(bins, ignore_index=True))


def _report(measured: Measured, study: SpeculationStudy, workshop: Workshop) -> None:
    from farm.reporting.speculation_page import print_speculation, write_speculation
    from farm.studies.speculation_tables import speculation_tables

    tables = speculation_tables(measured, study)
    workshop.keep({**vars(measured), **tables})
    print_speculation(tables, study.baseline, workshop.console.rich)
    for path in write_speculation(workshop.folder(), tables, study.baseline):
        workshop.console.message(str(path))


def preview(study: SpeculationStudy, workshop: Workshop) -> None:
    """Print what would be built."""
    planner = workshop.planner()
    rules = _rules(study, workshop)
    with workshop.planned(planner):
        for _ in _parts(study, rules, planner):
            pass
