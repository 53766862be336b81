"""Ray: started on this machine, or joined."""

import os
import signal
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import farm
from farm.errors import ClusterError
from farm.settings import ClusterSettings


def connect(settings: ClusterSettings, num_cpus: int | None) -> None:
    """Start Ray with so many logical CPUs (None: all) where `settings.address` is `local`, else
    join it. Raises ClusterError where that fails."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would let everybody else go first
    options: dict[str, Any] = {
        "num_cpus": num_cpus,
        "object_store_memory": settings.object_store_memory_bytes,
        "include_dashboard": False,
    }
    if settings.address != "local":
        options = {"runtime_env": runtime_env(settings)}
    try:
        with _own_sigterm_handler():
            ray.init(
                address=settings.address,
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=True,
                **options,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"Ray did not start with cluster.address={settings.address}: {error}"
        ) from error


def head_node() -> Any:
    """Where actors go that all of the cluster share: its first machine, without which there is no
    cluster. A scheduling strategy."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    head = next(n for n in ray.nodes() if "node:__internal_head__" in n["Resources"])
    return NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)


def runtime_env(settings: ClusterSettings) -> dict[str, Any]:
    """What processes of a joined cluster are given: what the settings say, and where this process
    finds its modules."""
    given = dict(settings.runtime_env)
    variables = {"PYTHONPATH": python_path(), **given.pop("env_vars", {})}
    return {**given, "env_vars": variables}


def python_path() -> str:
    """Where this process looks for modules before it looks into the interpreter's own folders,
    which every machine of the cluster has, and where the sandbox is."""
    stdlib = sysconfig.get_path("stdlib")
    first = [str(Path(entry).resolve()) for entry in takewhile(lambda e: e != stdlib, sys.path)]
    return os.pathsep.join([*first, str(Path(farm.__file__).parents[1])])


@contextmanager
def _own_sigterm_handler() -> Iterator[None]:
    """Keep this process's SIGTERM handler, which `ray.init` replaces by one of its own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
