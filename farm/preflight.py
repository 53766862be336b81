"""What a run needs besides its configuration, looked for before its first stage."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from farm.config import build
from farm.errors import ConfigError
from farm.targets import TARGET, nodes, target_class


@runtime_checkable
class NeedsKey(Protocol):
    """A node's class that can do nothing without a secret."""

    def check_key(self) -> None:
        """Raise ConfigError where the secret is not there."""
        ...


def check_keys(config: Mapping[str, Any]) -> None:
    """Raise `ConfigError` where annotators or evaluators lack a key, by the node's path."""
    judges = {name: config[name] for name in ("annotators", "evaluators")}
    for path, node in nodes(judges):
        built = build(node)
        if isinstance(built, NeedsKey):
            try:
                built.check_key()
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}") from None


def check_packages(config: Mapping[str, Any]) -> None:
    """Raise `ConfigError` where a class of the configuration lacks one of the packages that its
    `requires` lists, by name with the way to get it."""
    for path, node in nodes(config):
        cls = target_class(node[TARGET])
        for package, remedy in getattr(cls, "requires", {}).items():
            if find_spec(package) is None:
                raise ConfigError(
                    f"{path}: {cls.__name__} needs the package {package}, which is not "
                    f"installed: {remedy}."
                )
