"""What a run needs besides its configuration, looked for before its first stage."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from farm.errors import ConfigError
from farm.targets import TARGET, nodes, target_class


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
