"""From the command line to a checked configuration, before anything starts.

`python -m farm.run method=ppo seed=1` composes `conf/config.yaml` with Hydra. Hydra accepts wrong
types and unknown constructor keys, and names no neighbours of a mistyped word; so overrides are
checked before it sees them and the composed configuration after. Nothing here imports torch.
"""

import argparse
import hashlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from farm.composition import Composer, overrides_of, parse_arguments
from farm.errors import ConfigError, FarmError
from farm.settings import Configuration, DataKeys
from farm.sweep import Job as SweepJob
from farm.sweep import Outcome, attempt, labels, print_table, status_of
from farm.targets import (
    PARTIAL,
    TARGET,
    check_call,
    is_node,
    join,
    keywords,
    nodes,
    target_class,
    with_floats,
)

Task = Callable[[DictConfig], int]
Node = Mapping[str, Any] | DictConfig


_OURS = frozenset({"farm", "simulators", "methods"})


# --------------------------------------------------------------------------------- composing


class Schema(Protocol):
    """The typed form of a command's keys: a dataclass whose fields are they."""

    @staticmethod
    def from_plain(config: Mapping[str, Any]) -> Any:
        """Raises ConfigError for values that their types allow but that make no sense."""
        ...


@dataclass(frozen=True)
class Command:
    """A command that is configured by composing yaml files."""

    root: str
    """The yaml in `conf/` that composing begins from."""
    schema: type[Schema]
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Keys that only another command knows, and which."""


RUN = Command("config", Configuration, {"study": "python -m farm.study"})
"""`python -m farm.run`."""


def compose(overrides: Sequence[str] = (), command: Command = RUN) -> DictConfig:
    """The configuration that the command line `overrides` asks for, checked."""
    return checked(Composer(root=command.root), list(overrides), command)


def plain(node: Node) -> dict[str, Any]:
    """A node as dicts and lists, interpolations resolved."""
    if not isinstance(node, DictConfig):
        return dict(node)
    try:
        container = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        problem = str(error).splitlines()[0]
        raise ConfigError(f"{error.full_key or 'config'}: {problem}") from None
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


# ---------------------------------------------------------------------------------- checking


def check(config: DictConfig, command: Command = RUN) -> None:
    """Check all keys, types and choices, then build every node once; raises `ConfigError`.

    Constructors are cheap and check their values, so building finds what types cannot say.
    """
    values = plain(config)
    for key in command.foreign.keys() & values.keys():
        raise ConfigError(f"{key}: a key of {command.foreign[key]}, as all of this experiment.")
    if isinstance(values.get("data"), dict):
        own = {field.name for field in fields(DataKeys)}
        read = {key: values["data"].pop(key) for key in own & values["data"].keys()}
        check_call(DataKeys, read, "data", partial=False)
        _build_inside(read, "data")
    check_call(command.schema, values, "", partial=False)
    _build_inside(values, "")
    command.schema.from_plain(values)


def _typed(config: DictConfig, command: Command) -> DictConfig:
    """A checked configuration, its numbers of the types that their keys have."""
    typed: DictConfig = OmegaConf.create(with_floats(plain(config), command.schema))
    return typed


def _build_inside(values: Mapping[str, Any], path: str) -> None:
    for key, value in values.items():
        _build(value, join(path, key))


# ---------------------------------------------------------------------------------- building


def build(node: Node, **arguments: Any) -> Any:
    """The object that a node describes, nested nodes first.

    A node with `_partial_: true` gives a callable that waits for the rest of its arguments;
    `arguments` given here complete it.
    """
    values = {**plain(node), **arguments}
    if arguments:
        values.pop(PARTIAL, None)
    return _build(values, "")


def _build(value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_build(entry, f"{path}[{index}]") for index, entry in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    arguments = {key: _build(entry, join(path, key)) for key, entry in keywords(value).items()}
    if not is_node(value):
        return arguments
    cls: Callable[..., Any] = target_class(value[TARGET])
    if value.get(PARTIAL):
        return partial(cls, **arguments)
    try:
        return cls(**arguments)
    except ConfigError as error:
        named = not path or str(error).startswith(f"{path}.")
        raise ConfigError(str(error) if named else f"{path}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path or value[TARGET]}: {error}") from error


# -------------------------------------------------------------------------------------- keys


@runtime_checkable
class Moving(Protocol):
    """A node's class that reads something by a name whose meaning may change, such as a branch."""

    def pinned(self) -> Mapping[str, Any]:
        """Constructor keys to read by instead, for ever the same."""
        ...


@runtime_checkable
class ReadsFiles(Protocol):
    """A node's class that reads files outside the store."""

    def resolved(self) -> Mapping[str, str]:
        """Hashes of their content."""
        ...


def pinned(node: Node) -> Any:
    """A node with all nodes inside it, pinned (`Moving`): so a key, a worker and a later run with
    these values all read the same."""
    return _rebuilt(plain(node), Moving, "pinned")


def _rebuilt(value: Any, protocol: type[Any], method: str) -> Any:
    """A node with the keys that objects of a protocol give by its one method."""
    if isinstance(value, list):
        return [_rebuilt(entry, protocol, method) for entry in value]
    if not isinstance(value, Mapping):
        return value
    entries = {key: _rebuilt(entry, protocol, method) for key, entry in value.items()}
    target = build(entries) if is_node(entries) else None
    return {**entries, **getattr(target, method)()} if isinstance(target, protocol) else entries


@runtime_checkable
class Paid(Protocol):
    """A node's class that spends money when it works."""

    def unpaid(self) -> Mapping[str, Any]:
        """Keys of the node that says instead what it would spend."""
        ...


def unpaid(node: Node) -> Any:
    """A node with all nodes inside it in the form that spends nothing (`Paid`)."""
    return _rebuilt(plain(node), Paid, "unpaid")


def resolved(node: Node) -> dict[str, str]:
    """Hashes of what a node and all nodes inside it read (`ReadsFiles`), by their dotted path."""
    found: dict[str, str] = {}
    for path, inner in nodes(plain(node)):
        target = _build(inner, path)
        if isinstance(target, ReadsFiles):
            found |= {join(path, name): content for name, content in target.resolved().items()}
    return found


def result_config(node: Node) -> Any:
    """What of a node changes results: for artefacts' keys.

    Constructor keys listed in a class's `key_excludes` are left out, and its `stage_version` is
    put in; a class from outside brings its source's hash and its distribution's version instead.
    """
    return _result(plain(node))


def _result(value: Any) -> Any:
    if isinstance(value, list):
        return [_result(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    if not is_node(value):
        return {key: _result(entry) for key, entry in value.items()}
    cls = target_class(value[TARGET])
    excluded: frozenset[str] = getattr(cls, "key_excludes", frozenset())
    kept = {k: _result(v) for k, v in keywords(value).items() if k not in excluded}
    return {TARGET: value[TARGET], **kept, **_version(cls)}


def _version(cls: type[Any]) -> dict[str, Any]:
    package = cls.__module__.split(".")[0]
    if package in _OURS:
        return {"stage_version": getattr(cls, "stage_version", 1)}
    source = Path(inspect.getfile(cls)).read_bytes()
    names = importlib.metadata.packages_distributions().get(package, [])
    return {
        "source": hashlib.sha256(source).hexdigest()[:16],
        "distributions": {name: importlib.metadata.version(name) for name in sorted(set(names))},
    }


# ------------------------------------------------------------------------------ command line


def cli(task: Task, argv: Sequence[str] | None = None, command: Command = RUN) -> int:
    """Run `task` on the configuration that the command line asks for; returns the exit status.

    2 is a mistake in the configuration, found before anything starts. In a sweep (`-m`) every
    job's configuration is checked before the first begins, a job that fails does not stop the
    others, a table says what became of each, and the status is that of the first failure.
    """
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    return _guarded(lambda: _dispatch(arguments, task, command))


def _dispatch(arguments: argparse.Namespace, task: Task, command: Command) -> int:
    composer = Composer(arguments.config_dir, command.root)
    if composer.answers(arguments):
        if arguments.cfg:  # shown first, so that a wrong configuration can be looked at
            checked(composer, arguments.overrides, command)
        return 0
    if not arguments.multirun:
        return task(checked(composer, arguments.overrides, command))
    return _sweep(composer, arguments.overrides, task, command)


def _sweep(composer: Composer, overrides: list[str], task: Task, command: Command) -> int:
    jobs = composer.jobs(overrides)
    configs = [_checked_job(composer, job, command) for job in jobs]
    outcomes = composer.launch(partial(_job, task, command), overrides, jobs)
    print_table(
        [
            SweepJob(label, plain(config), outcome)
            for label, config, outcome in zip(labels(jobs), configs, outcomes, strict=True)
        ]
    )
    return status_of(outcomes)


def checked(composer: Composer, overrides: list[str], command: Command) -> DictConfig:
    """The configuration that a composer makes of these overrides, checked, its numbers of the types
    that their keys have."""
    config = composer.compose(overrides)
    check(config, command)
    return _typed(config, command)


def _checked_job(composer: Composer, job: list[str], command: Command) -> DictConfig:
    try:
        return checked(composer, job, command)
    except ConfigError as error:
        raise ConfigError(f"{error} (in the job {' '.join(job)})") from None


def _job(task: Task, command: Command, _: DictConfig) -> Outcome:
    """One job of a sweep; what Hydra composed for it lacks what our composer adds."""
    job, known = HydraConfig.get(), HydraConfig.instance().cfg
    print(f"== job {job.job.num}: {' '.join(job.overrides.task)}", file=sys.stderr)

    def run() -> int:
        config = checked(Composer.of(job, command.root), overrides_of(job), command)
        HydraConfig.instance().cfg = known  # composing forgets the job's number
        return task(config)

    return attempt(run)


def _guarded(action: Callable[[], int]) -> int:
    try:
        return action()
    except FarmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
