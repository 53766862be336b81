"""The runs of a study that holds variants of a run against each other, seed by seed."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

from farm.builder import Executor
from farm.errors import ConfigError
from farm.settings import Settings
from farm.studies.runs import Runs

C = TypeVar("C")

MakeCell = Callable[[Mapping[str, Any], Settings, Executor], C]
"""(configuration, its plain keys, executor) -> what one variant is on one seed."""


class Variants(Generic[C]):
    """Cells, each made when it is first asked for."""

    def __init__(
        self,
        variants: Mapping[str, Sequence[str]],
        runs: Runs,
        executor: Executor,
        make: MakeCell[C],
        say: Callable[[str], None],
    ) -> None:
        """`variants` are overrides by name; `say` is told of every run when it is first asked for.
        Composes and checks them all, so that a mistake shows before anything runs: raises
        ConfigError."""
        self._overrides = variants
        self._executor = executor
        self._make = make
        self._say = say
        self._compose = cache(runs.compose)
        self.cell = cache(self._cell)
        for name, overrides in variants.items():
            try:
                self._compose(tuple(overrides))
            except ConfigError as error:
                raise ConfigError(f"{error} (in study.variants.{name})") from None

    def _cell(self, seed: int, name: str) -> C:
        self._say(f"{name}, seed {seed}:")
        config = {**self._compose(tuple(self._overrides[name])), "seed": seed}
        return self._make(config, Settings.from_plain(config), self._executor)
