"""What Ray costs a run on one machine: starting it, its first worker, a job's way there and back,
and its end. The imports of torch and trl, which the worker needs without Ray as well, are left out:
they go on in a thread while the driver works.

    python tests/benchmarks/ray_cost.py [--jobs 60] [--rounds 3]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from farm.artifacts import Build, Store
from farm.cluster import Cluster
from farm.config import compose, plain
from farm.ray_session import connect
from farm.settings import ClusterSettings
from farm.stages.job import Job
from farm.worker_group import WorkerGroup


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(jobs: int) -> dict[str, float]:
    """Seconds by what they went to."""
    import ray

    settings = ClusterSettings(**plain(compose([]))["cluster"])
    cluster = Cluster(settings, print)
    spent = {"ray.init": timed(lambda: connect(settings, settings.num_cpus))}
    cluster._started_ray = True
    group: list[WorkerGroup] = []
    spent["first worker"] = timed(lambda: group.append(WorkerGroup(settings)))
    cluster._group = group[0]
    with tempfile.TemporaryDirectory() as folder:
        _run(cluster, Path(folder), "warm")  # waits for the imports
        spent[f"{jobs} jobs' ways"] = sum(
            timed(lambda n=n: _run(cluster, Path(folder), f"job-{n}"))  # type: ignore[misc]
            for n in range(jobs)
        )
    spent["shutdown"] = timed(cluster.close)
    assert not ray.is_initialized()
    return spent


def nothing(job: Job) -> dict[str, object]:
    """A job."""
    return {}


def _run(cluster: Cluster, root: Path, key: str) -> None:
    with Store(root).building("stage", key, lambda: None) as build:
        assert isinstance(build, Build)
        cluster.run(
            Job("ray_cost:nothing", "stage", key, build.work, build.token, Store(root), {}, {}, 0),
            lambda progress: None,
        )


def main() -> None:
    """Medians over the rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds = [measure(arguments.jobs) for _ in range(arguments.rounds)]
    medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    for name, seconds in medians.items():
        print(f"{name}: {seconds:.2f} s")
    print(f"together: {sum(medians.values()):.2f} s")


if __name__ == "__main__":
    import os

    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    sys.exit(main())
