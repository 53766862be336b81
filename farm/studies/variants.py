"""The runs of a study that holds variants of a run against each other, seed by seed."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Generic, TypeVar

from farm.builder import Executor
from farm.errors import ConfigError
from farm.settings import Settings
from farm.studies.variant_study import VariantStudy
from farm.studies.workshop import Workshop

C = TypeVar("C")

MakeCell = Callable[[Mapping[str, Any], Settings, Executor], C]
"""(configuration, its plain keys, executor) -> what one variant is on one seed."""


class Variants(Generic[C]):
    """Cells, each made when it is first asked for."""

    def __init__(
        self, study: VariantStudy, workshop: Workshop, executor: Executor, make: MakeCell[C]
    ) -> None:
        """Composes and checks all variants, so that a mistake shows before anything runs: raises
        ConfigError."""
        self._study = study
        self._executor = executor
        self._make = make
        self._say = workshop.console.message
        self._compose = cache(workshop.runs.compose)
        for name, overrides in study.variants.items():
            try:
                self._compose(tuple(overrides))
            except ConfigError as error:
                raise ConfigError(f"{error} (in study.variants.{name})") from None

    def cells(self) -> Iterator[tuple[int, str, C]]:
        """(seed, variant, cell) of all, seed by seed; every run is told of as it is asked for."""
        for seed in self._study.seeds:
            for name, overrides in self._study.variants.items():
                self._say(f"{name}, seed {seed}:")
                config = {**self._compose(tuple(overrides)), "seed": seed}
                yield seed, name, self._make(config, Settings.from_plain(config), self._executor)
