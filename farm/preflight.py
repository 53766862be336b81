"""What a run needs besides its configuration, looked for before its first stage."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from farm.errors import ConfigError
from farm.targets import TARGET, is_node, join, target_class


def check_packages(config: Mapping[str, Any]) -> None:
    """Raise `ConfigError` where a class of the configuration lacks one of the packages that its
    `requires` lists, by name with the way to get it."""
    for path, node in _nodes(config, ""):
        cls = target_class(node[TARGET])
        for package, remedy in getattr(cls, "requires", {}).items():
            if find_spec(package) is None:
                raise ConfigError(
                    f"{path}: {cls.__name__} needs the package {package}, which is not "
                    f"installed: {remedy}."
                )


def _nodes(value: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All nodes that name a class, outer before inner, each with its dotted path."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _nodes(entry, f"{path}[{index}]")
    if isinstance(value, Mapping):
        if is_node(value):
            yield path, value
        for key, entry in value.items():
            yield from _nodes(entry, join(path, key))
