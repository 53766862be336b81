"""Ray actors that all workers of a cluster find by name, and make again when they are gone."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from farm.ray_session import head_node


class SharedActor:
    """An actor that dies with the worker that made it, as Ray's actors do: whoever needs it next
    makes it again. What must outlast it lies in a file."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._actor = make()

    async def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """What the actor's method returns."""
        from ray.exceptions import RayActorError

        try:
            return await getattr(self._actor, method).remote(*arguments, **keywords)
        except RayActorError:
            self._actor = self._make()
            return await getattr(self._actor, method).remote(*arguments, **keywords)


def several_machines() -> bool:
    """Whether this process belongs to a cluster of several machines, which share no SQLite file:
    such files are unsafe on network file systems."""
    ray = sys.modules.get("ray")
    nodes = ray.nodes() if ray is not None and ray.is_initialized() else []
    return sum(bool(node["Alive"]) for node in nodes) > 1


def owner_of(path: Path, kind: Callable[[Path], Any]) -> SharedActor:
    """The actor on the head node that has opened the file at an absolute path there, as a `kind`,
    for all of the cluster."""
    import ray

    def make() -> Any:
        return (
            ray.remote(kind)
            .options(
                name=f"{kind.__name__} {path}",
                namespace="files",
                get_if_exists=True,
                num_cpus=0,
                scheduling_strategy=head_node(),
            )
            .remote(path)
        )

    return SharedActor(make)
