"""Who builds, among the drivers of a cluster: real drivers, of which one is really killed."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import ray

from farm import leases
from farm.errors import ClusterError, StoreError
from farm.leases import Holder, Leases, leased
from farm.processes import ProcessId

ELSEWHERE = Holder("another machine", ProcessId(1, 0.0), "t")
HERE = Holder("this machine", ProcessId(2, 0.0), "t")
ANOTHER_DRIVER = """
import sys, time
import ray
from farm.leases import leased

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
with leased("killed", lambda: None):
    print("building", flush=True)
    time.sleep(600)
"""


def _no_wait() -> None:
    raise AssertionError("nobody else builds this")


def test_one_holds_until_it_is_given_back_or_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Leases()
    assert held.take("a", ELSEWHERE) == held.take("a", HERE) == ELSEWHERE
    assert held.take("b", HERE) == HERE
    held.end("a", HERE)
    assert held.take("a", HERE) == ELSEWHERE, "it is not for others to end"
    held.end("a", ELSEWHERE)
    assert held.take("a", HERE) == HERE
    monkeypatch.setattr(leases, "LEASE_S", 0.0)
    assert held.take("a", HERE) == HERE
    assert held.take("a", ELSEWHERE) == ELSEWHERE


class Silent:
    """In place of an actor whose machine is lost."""

    def take(self, *_: object) -> None:
        time.sleep(600)


def test_leases_that_nobody_gives_end_in_an_error_for_people(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = ray.remote(num_cpus=0)(Silent).remote()
    monkeypatch.setattr(leases, "_leases", lambda: actor)
    monkeypatch.setattr(leases, "_ANSWER_S", 0.5)
    with pytest.raises(ClusterError, match="says who builds what"), leased("silent", _no_wait):
        raise AssertionError("nobody has given it")
    ray.kill(actor)


def test_second_builder_waits_for_the_first(ray_session: None) -> None:
    waiting, done = threading.Event(), threading.Event()

    def second() -> None:
        with leased("shared", waiting.set):
            done.set()

    with leased("shared", _no_wait) as first, leased("other", _no_wait):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        assert not done.is_set()
        first.check()
    thread.join(60)
    assert done.is_set()


def test_driver_that_was_silent_too_long_publishes_nothing(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_RENEW_S", 0.1)
    with leased("lost", _no_wait) as lease:
        lease.check()
        actor = ray.get_actor("leases", namespace="farm")
        ray.get(actor.end.remote("lost", lease.holder))
        ray.get(actor.take.remote("lost", ELSEWHERE))
        assert lease.lost.wait(60)
        with pytest.raises(StoreError, match=r"Another run has begun to build lost"):
            lease.check()
    assert ray.get(actor.take.remote("lost", HERE)) == ELSEWHERE, "it was not ours to end"


@pytest.fixture
def another_driver(ray_session: None) -> Iterator["subprocess.Popen[str]"]:
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_DRIVER, address], stdout=subprocess.PIPE, text=True
    )
    yield process
    with process:
        process.kill()


def test_driver_killed_on_this_machine_is_not_waited_for(
    another_driver: "subprocess.Popen[str]",
) -> None:
    assert another_driver.stdout is not None
    assert another_driver.stdout.readline() == "building\n"
    another_driver.kill()
    another_driver.wait()
    with leased("killed", _no_wait) as lease:
        lease.check()
