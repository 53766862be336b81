"""Hydra behind one class: overrides checked with neighbours, configurations composed, jobs run."""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from hydra.version import setbase
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from farm.errors import ConfigError
from farm.linked import LINKS, linked
from farm.sweep import Outcome, outcome_of
from farm.targets import (
    MISSING,
    TARGET,
    check_call,
    join,
    keywords,
    nearest,
    suggest,
    target_class,
)

_PACKAGE = "conf"


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Hydra's options and the overrides, in any order; exits with status 2 on unknown options."""
    parser = get_args_parser()
    arguments: argparse.Namespace = parser.parse_intermixed_args(list(argv))
    arguments.parser = parser
    return arguments


class Composer:
    """Composes configurations out of `conf/` (and a folder of the user's own)."""

    def __init__(self, config_dir: str | None = None, root: str = "config") -> None:
        """`root` is the yaml that composing begins from; `config_dir` a folder of the user's."""
        self._root = root
        setbase("1.3")
        search_path = create_config_search_path(f"pkg://{_PACKAGE}")
        if config_dir is not None:
            folder = Path(config_dir).resolve()
            if not folder.is_dir():
                raise ConfigError(f"--config-dir {config_dir}: there is no such folder.")
            search_path.prepend(provider="command line", path=f"file://{folder}")
        GlobalHydra.instance().clear()
        self._hydra = Hydra.create_main_hydra2("farm", search_path)
        self._repository = self._hydra.config_loader.repository

    @classmethod
    def of(cls, hydra: HydraConf, root: str) -> "Composer":
        """As the job was composed that `hydra` is of."""
        folders = [s.path for s in hydra.runtime.config_sources if s.provider == "command line"]
        return cls(next(iter(folders), None), root)

    # ------------------------------------------------------------------------------ composing

    def compose(self, overrides: list[str]) -> DictConfig:
        """The configuration of one job; raises `ConfigError` naming key and neighbours."""
        full = self._compose_checked(overrides)
        HydraConfig.instance().set_config(full)  # for ${hydra:...}
        config = full.copy()
        with open_dict(config):
            del config["hydra"]
            self._put_links(config, full.hydra.runtime.choices, overrides)
        for path in _open_keys(OmegaConf.to_container(config), ""):
            meaning = _meaning(path, full.hydra.runtime.choices)
            raise ConfigError(f"{path} must be given: {path}=VALUE{meaning}")
        return config

    def _compose_checked(self, overrides: list[str]) -> DictConfig:
        parsed = _parse(overrides)
        choices = [override for override in parsed if self._is_choice(override)]
        for override in choices:
            self._check_choice(override)
        values = [override for override in parsed if override not in choices]
        try:
            config = self._compose(overrides)
        except ConfigError:
            self._explain(choices, values)
            raise
        for override in values:
            _check_no_choice(override, config.hydra.runtime.choices)
        return config

    def _explain(self, choices: list[Override], values: list[Override]) -> None:
        """Raise what is wrong with the overrides in better words than Hydra's, if it is known."""
        for override in choices:
            self._check_place(override)
        config = self._compose([str(override.input_line) for override in choices])
        for override in values:
            self._check_key(override, config)

    def _compose(self, overrides: list[str], mode: RunMode = RunMode.RUN) -> DictConfig:
        try:
            config: DictConfig = self._hydra.compose_config(self._root, overrides, mode)
        except HydraException as error:
            cause = f" {error.__cause__}" if error.__cause__ else ""
            raise ConfigError(_one_line(f"{error}{cause}")) from None
        return config

    # ------------------------------------------------------------------------------- checking

    def _is_choice(self, override: Override) -> bool:
        group = override.key_or_group
        return override.package is not None or bool(self._repository.group_exists(group))

    def choices(self, group: str) -> list[str]:
        """Names of the yaml files of a group."""
        return sorted(self._repository.get_group_options(group, ObjectType.CONFIG))

    def _groups(self) -> list[str]:
        groups = self._repository.get_group_options("", ObjectType.GROUP)
        return [group for group in groups if group != "hydra"]

    def _check_choice(self, override: Override) -> None:
        group, value = override.key_or_group, override.value()
        if not self._repository.group_exists(group):
            raise ConfigError(f"{group}: there is no such group. {suggest(group, self._groups())}")
        for choice in value if isinstance(value, list) else [value]:
            if str(choice) not in self.choices(group) and not override.is_delete():
                raise ConfigError(
                    f"{override.input_line}: the group {group} has no such choice. "
                    f"{suggest(choice, self.choices(group))}"
                )

    def _check_place(self, override: Override) -> None:
        """Check that `config.yaml` has a line for this group, or none where one is added."""
        key = override.get_key_element().lstrip("+~")
        places = [str(name) for name in self._compose([]).hydra.runtime.choices]
        if override.is_add() and key in places:
            raise ConfigError(f"{override.input_line}: write {key}={override.value()}, without +.")
        if not override.is_add() and key not in places:
            known = [place for place in places if not place.startswith("hydra")]
            raise ConfigError(f"{key}: there is no such node. {suggest(key, known)}")

    def _check_key(self, override: Override, base: DictConfig) -> None:
        """Check that an override's key exists. A new key (`+key=...`) is left to its class."""
        key = override.key_or_group
        if override.is_add() or override.is_force_add():
            return
        parent, _, group = key.rpartition("/")
        if parent:
            known = self._repository.get_group_options(parent, ObjectType.GROUP)
            raise ConfigError(f"{key}: there is no such group. {suggest(group, known)}")
        lost = _first_unknown(base, key)
        if lost is None:
            return
        path, siblings = lost
        raise ConfigError(f"{path}: there is no such key. {self._hint(path, siblings, base)}")

    def _hint(self, path: str, siblings: list[str], base: DictConfig) -> str:
        parts = path.split(".")
        depth = 2 if parts[0] == "hydra" else 1
        group, rest = "/".join(parts[:depth]), ".".join(parts[depth:])
        if rest:
            others = [c for c in self.choices(group) if self._has(group, c, rest)]
            if others:
                wanted = " or ".join(f"{group}={choice}" for choice in others)
                return f"It is a key of {wanted}: add that choice."
        if len(parts) > 1:
            return suggest(parts[-1], siblings)
        names = {*siblings, *self._groups()}
        deep = _all_keys(base)
        leaves = {key.rpartition(".")[2] for key in deep}
        if nearest(path, names) or not nearest(path, leaves):
            return suggest(path, names)
        leaf = nearest(path, leaves)[0]
        return f"Did you mean {' or '.join(key for key in deep if key.endswith('.' + leaf))}?"

    def _has(self, group: str, choice: str, path: str) -> bool:
        config = self._repository.load_config(f"{group}/{choice}").config
        return _first_unknown(config, path) is None

    # ----------------------------------------------------------------------------------- links

    def _put_links(
        self, config: DictConfig, choices: Mapping[str, str], overrides: list[str]
    ) -> None:
        """Replace the lists of links that choices have by the links' nodes (`farm.linked`)."""
        for place in [place for place in choices if not place.startswith("hydra")]:
            group, _, package = place.partition("@")
            node = config.get(package or group)
            if isinstance(node, DictConfig) and isinstance(node.get(LINKS), ListConfig):
                entries: Any = OmegaConf.to_container(node[LINKS], resolve=True)
                choose = partial(self._chosen, place, package or group, overrides)
                path = f"{package or group}.{LINKS}"
                node[LINKS] = linked(entries, path, self.choices(group), choose)

    def _chosen(
        self, place: str, package: str, overrides: list[str], choice: str
    ) -> dict[str, Any]:
        """What the node would be with another choice and none of its own keys set."""
        others = [
            override.input_line
            for override in _parse(overrides)
            if not f"{override.get_key_element().lstrip('+~')}.".startswith(
                (f"{place}.", f"{package}.")
            )
        ]
        config = self._compose([*map(str, others), f"{place}={choice}"])
        node = OmegaConf.to_container(config[package], resolve=True)
        assert isinstance(node, dict)
        return {str(key): value for key, value in node.items() if key != LINKS}

    # ---------------------------------------------------------------------------------- sweeps

    def jobs(self, overrides: list[str]) -> list[list[str]]:
        """The overrides of every job of a sweep: the product of all values given."""
        parsed = _parse(overrides, sweep=True)
        try:
            jobs: list[list[str]] = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
        except HydraException as error:
            raise ConfigError(_one_line(str(error))) from None
        return jobs

    def launch(
        self, task: Callable[[DictConfig], Outcome], overrides: list[str], jobs: list[list[str]]
    ) -> list[Outcome]:
        """Hand the jobs to the launcher that the overrides choose."""
        hydra_only = [job for job in overrides if job.lstrip("+~").startswith(("hydra.", "hydra/"))]
        config = self._compose(hydra_only, RunMode.MULTIRUN)
        context = HydraContext(self._hydra.config_loader, Callbacks(config))
        launcher = _launcher(config)
        launcher.setup(hydra_context=context, task_function=task, config=config)
        return [outcome_of(result) for result in launcher.launch(jobs, initial_job_idx=0)]

    # -------------------------------------------------------------------------------- questions

    def answers(self, arguments: argparse.Namespace) -> bool:
        """Answer --help, --cfg and Hydra's other questions; False when there is none."""
        shared = {"config_name": self._root}
        overrides = list(arguments.overrides)
        if arguments.help:
            self._hydra.app_help(**shared, args_parser=arguments.parser, args=arguments)
        elif arguments.hydra_help:
            self._hydra.hydra_help(**shared, args_parser=arguments.parser, args=arguments)
        elif arguments.cfg:
            self._compose_checked(overrides)
            self._hydra.show_cfg(
                **shared,
                overrides=overrides,
                cfg_type=arguments.cfg,
                package=arguments.package,
                resolve=arguments.resolve,
            )
        elif arguments.shell_completion:
            self._hydra.shell_completion(**shared, overrides=overrides)
        elif arguments.info:
            self._hydra.show_info(arguments.info, **shared, overrides=overrides)
        else:
            return False
        return True


def overrides_of(hydra: HydraConf) -> list[str]:
    """A job's overrides as they were written: what one refers to may differ from job to job."""
    written: Any = OmegaConf.to_container(OmegaConf.create(hydra.overrides.task), resolve=False)
    return [str(override) for override in written]


def _parse(overrides: list[str], sweep: bool = False) -> list[Override]:
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except OverrideParseException as error:
        raise ConfigError(
            f"'{error.override}' cannot be read: write KEY=VALUE, and quote what is special, as in "
            f"'key=\"some text\"'. ({_one_line(str(error)).partition(' See ')[0]})"
        ) from None
    for override in parsed:
        if override.is_sweep_override() and not sweep:
            raise ConfigError(
                f"{override.input_line}: several values make a sweep: add -m. "
                "A list is written key=[1,2]."
            )
    return parsed


def _check_no_choice(override: Override, choices: Mapping[str, str]) -> None:
    """Check that `sft=dpo` is not written where `method@sft=dpo` is meant."""
    for name in choices:
        if str(name).partition("@")[2] == override.key_or_group:
            raise ConfigError(f"{override.key_or_group}: choose it with {name}={override.value()}.")


def _open_keys(value: object, path: str) -> Iterator[str]:
    """Paths of the keys that the yaml files leave to the user."""
    if value == MISSING:
        yield path
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _open_keys(entry, join(path, key))


def _meaning(path: str, choices: Mapping[str, str]) -> str:
    """What the yaml that left a key open says about it."""
    group, _, key = path.partition(".")
    file = resources.files(_PACKAGE) / group / f"{choices.get(group)}.yaml"
    comment = re.search(rf"^{key}:.*?# (.*)$", file.read_text(), re.M) if file.is_file() else None
    return f" ({comment[1]})" if comment else ""


def _first_unknown(config: DictConfig, key: str) -> tuple[str, list[str]] | None:
    """The path up to the first part of `key` that does not exist, and its siblings."""
    node: Any = config
    path = ""
    for part in re.split(r"[.\[\]]+", key.rstrip("]")):
        path = join(path, part)
        if isinstance(node, ListConfig) and part.lstrip("-").isdigit():
            known = [str(i) for i in range(len(node))]
        else:
            known = [str(k) for k in node] if isinstance(node, DictConfig) else []
        if part not in known:
            return path, [name for name in known if name != "hydra"]
        child = node._get_node(int(part) if isinstance(node, ListConfig) else part)
        node = child._maybe_dereference_node() if child is not None else None
    return None


def _all_keys(config: DictConfig, path: str = "") -> list[str]:
    keys = []
    for key in config:
        if key == "hydra":
            continue
        keys.append(join(path, key))
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_interpolation() and not node._is_none():
            keys += _all_keys(node, join(path, key))
    return keys


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _launcher(config: DictConfig) -> Launcher:
    """Built here, since Hydra would check no types and hide what the constructor says."""
    node: Any = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    cls, values = target_class(node[TARGET]), keywords(node)
    check_call(cls, values, "hydra.launcher", partial=False)
    launcher: Launcher = cls(**values)
    return launcher
