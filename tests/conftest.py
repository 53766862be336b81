"""Shared by all tests: no network, no telemetry, one Ray session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.update(
    # Threads of models this small wait for each other, and two workers share the cores.
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
    # Ray's workers inherit it: they must find the functions of tests/jobs_for_tests.py.
    PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
)

LONGEST = (
    "test_study",
    "test_faults",
    "test_expects",
    "test_main_job",
    "test_cluster",
    "test_ranks",
)
"""The files that take longest. pytest-xdist hands out one file at a time, in the order of the
tests: with these first, its workers end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they are."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray for all tests that need workers; `farm.cluster` joins what is running."""
    import ray

    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=2**28,
    )
    yield
    ray.shutdown()
