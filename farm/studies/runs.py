"""The configurations of a study's runs: the study's own command line with more overrides."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.conf import HydraConf
from omegaconf import OmegaConf

from farm.composition import Composer
from farm.config import Command, check, plain


class Runs:
    """Composes the configuration of any of a study's runs. `hydra` is that of the study."""

    def __init__(self, hydra: HydraConf, command: Command) -> None:
        # As they were written: what an override refers to may differ from run to run.
        written: Any = OmegaConf.to_container(OmegaConf.create(hydra.overrides.task), resolve=False)
        self._overrides = [str(override) for override in written]
        folders = [s.path for s in hydra.runtime.config_sources if s.provider == "command line"]
        self._command = command
        self._composer = Composer(next(iter(folders), None), command.root)

    @property
    def methods(self) -> list[str]:
        """The choices of the group `method`."""
        return self._composer.choices("method")

    def compose(self, overrides: Sequence[str]) -> Mapping[str, Any]:
        """The configuration with these overrides behind the study's own, checked."""
        config = self._composer.compose([*self._overrides, *overrides])
        check(config, self._command)
        return plain(config)
