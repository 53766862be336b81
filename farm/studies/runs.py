"""The configurations of a study's runs: the study's own command line with more overrides."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.conf import HydraConf

from farm.chains import is_chain, needs_of
from farm.composition import Composer, overrides_of
from farm.config import Command, checked, plain
from farm.errors import ConfigError
from farm.targets import suggest
from farm.types import Need


class Runs:
    """Composes the configuration of any of a study's runs. `hydra` is that of the study."""

    def __init__(self, hydra: HydraConf, command: Command) -> None:
        self._overrides = overrides_of(hydra)
        self._command = command
        self._composer = Composer.of(hydra, command.root)

    def methods(
        self,
        asked: Sequence[str] | None,
        needs: frozenset[Need],
        without: frozenset[Need] = frozenset(),
    ) -> list[str]:
        """The choices of the group `method` that are asked for; None: all whose learner needs one
        of `needs` and none of `without`, but for chains, whose links take part by themselves."""
        self.check_methods("methods", asked or ())
        if asked is not None:
            return list(asked)
        learners = {
            choice: self.compose((f"method={choice}",))["method"] for choice in self._choices
        }
        found = {choice: needs_of(node) for choice, node in learners.items() if not is_chain(node)}
        return [choice for choice, of in found.items() if of & needs and not of & without]

    def check_methods(self, key: str, names: Iterable[str]) -> None:
        """Raise ConfigError for a name in `study.KEY` that is no choice of the group `method`."""
        for name in names:
            if name not in self._choices:
                raise ConfigError(
                    f"study.{key}: there is no method {name}. {suggest(name, self._choices)}"
                )

    @property
    def _choices(self) -> list[str]:
        return self._composer.choices("method")

    def compose(self, overrides: Sequence[str]) -> Mapping[str, Any]:
        """The configuration with these overrides behind the study's own, checked."""
        return plain(checked(self._composer, [*self._overrides, *overrides], self._command))
