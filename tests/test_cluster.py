"""Warm workers: reuse, death, hanging and errors, with real processes in one Ray session."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farm.artifacts import Build, Store
from farm.cluster import Cluster
from farm.errors import ClusterError, DataError
from farm.settings import ClusterSettings
from farm.stages.job import Job

SETTINGS = ClusterSettings(
    address="local",
    num_cpus=None,
    learners=1,
    sharded=False,
    gpus_per_learner=0,
    samplers=0,
    gpus_per_sampler=0,
    scorers=0,
    gpus_per_scorer=0,
    grows=False,
    runtime_env={},
    max_restarts=1,
    start_timeout_s=120,
    call_timeout_s=120,
    object_store_memory_bytes=2**28,
)
HUNG = ClusterSettings(**{**vars(SETTINGS), "max_restarts": 0, "call_timeout_s": 3})


def _run(
    cluster: Cluster, root: Path, function: str, *, together: bool = False, **config: Any
) -> dict[str, Any]:
    store = Store(root)
    with store.building("stage", function, lambda: None) as build:
        assert isinstance(build, Build)
        job = Job(
            function=f"jobs_for_tests:{function}",
            stage="stage",
            key=function,
            work=build.work,
            token=build.token,
            store=store,
            config=config,
            parents={},
            seed=0,
            together=together,
        )
        return cluster.run(job, lambda progress: None)


@pytest.fixture(scope="module")
def cluster(ray_session: None) -> Iterator[Cluster]:
    """Each test goes on with the worker that the one before has left."""
    cluster = Cluster(replace(SETTINGS, scorers=1), on_message=lambda text: None)
    yield cluster
    cluster.close()


def test_one_warm_process_runs_all_jobs_outside_the_driver(
    cluster: Cluster, tmp_path: Path
) -> None:
    first = _run(cluster, tmp_path / "a", "count")
    second = _run(cluster, tmp_path / "b", "count")
    assert first == second
    assert first["pids"] != [str(os.getpid())]


def test_scorers_help_with_what_a_job_computes(cluster: Cluster, tmp_path: Path) -> None:
    found = _run(cluster, tmp_path, "ask_helpers")
    assert len(found["pids"]) == 1
    assert not {found["pid"], os.getpid()} & set(found["pids"])


def test_errors_for_people_arrive_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^file\.jsonl, line 3: no instruction\.$"):
        _run(cluster, tmp_path, "refuse")


def test_killed_worker_is_replaced_and_the_job_continues_where_it_was(
    cluster: Cluster, tmp_path: Path
) -> None:
    results = _run(cluster, tmp_path, "count", dies_before=2)
    assert len(results["pids"]) == 2


def test_worker_that_always_dies_ends_in_an_error_that_names_the_key(
    cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match=r"lost its worker 2 times.*cluster\.max_restarts=1"):
        _run(cluster, tmp_path, "die")


def test_hung_worker_is_given_up(ray_session: None, tmp_path: Path) -> None:
    messages: list[str] = []
    cluster = Cluster(HUNG, messages.append)
    with pytest.raises(ClusterError, match=r"cluster\.call_timeout_s"):
        _run(cluster, tmp_path, "hang")
    cluster.close()


@pytest.mark.slow
def test_killed_rank_takes_its_group_along_and_the_job_goes_on(
    ray_session: None, tmp_path: Path
) -> None:
    messages: list[str] = []
    cluster = Cluster(replace(SETTINGS, learners=2, sharded=True), messages.append)
    try:
        once = _run(cluster, tmp_path / "a", "meet", together=True, rounds=1)
        again = _run(cluster, tmp_path / "b", "meet", together=True, rounds=3)
        alone = _run(cluster, tmp_path / "c", "meet", together=False, rounds=1)
    finally:
        cluster.close()
    assert len(set(once["pids"])) == len(set(again["pids"])) == 2
    assert not set(once["pids"]) & set(again["pids"])
    assert again["by"] == 0
    assert again["ranks"] == "ShardingGroup" and alone["ranks"] == "Alone"
    assert alone["pids"] == again["pids"][:1], "the first rank does what is not done together"
    (message,) = messages
    assert "death of its process of rank 1" in message
    assert "rank 1 says farewell" in message


@pytest.mark.slow
def test_hung_rank_is_given_up_with_its_group(ray_session: None, tmp_path: Path) -> None:
    messages: list[str] = []
    patient = replace(SETTINGS, learners=2, call_timeout_s=20)
    cluster = Cluster(patient, messages.append)
    try:
        found = _run(cluster, tmp_path, "meet", together=True, rounds=3, hangs=True)
    finally:
        cluster.close()
    assert len(found["pids"]) == 2
    assert "no progress for 20 s (cluster.call_timeout_s)" in messages[0]


def test_what_never_finds_room_is_refused_at_once(ray_session: None, tmp_path: Path) -> None:
    cluster = Cluster(replace(SETTINGS, learners=3, gpus_per_learner=1), print)
    with pytest.raises(
        ClusterError, match=r"3 GPU of which the cluster has 0.*cluster\.learners=3"
    ):
        _run(cluster, tmp_path, "count")
    cluster.close()


def test_driver_side_imports_neither_torch_nor_ray() -> None:
    code = (
        "import farm.main_job, sys; sys.exit(bool({'torch', 'ray', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sigterm_interrupts_the_run_while_ray_is_up(tmp_path: Path) -> None:
    code = f"""
import os, signal, time
from farm.cluster import Cluster
from farm.settings import ClusterSettings

signal.signal(signal.SIGTERM, signal.default_int_handler)
cluster = Cluster(ClusterSettings(**{vars(SETTINGS)}), print)
cluster._join()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except KeyboardInterrupt:
    cluster.close()
    os._exit(130)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 130
