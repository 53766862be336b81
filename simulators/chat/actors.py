"""Ray actors that all workers of a cluster find by name, and make again when they are gone."""

from collections.abc import Callable
from typing import Any


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
