"""The store: keys, publication, locks, fencing; with real processes that are really killed."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from farm.artifacts import Artifact, Build, Store, key_of
from farm.errors import StoreError
from farm.work_folder import check_fence, holding_work

SPAWN = multiprocessing.get_context("spawn")


def _no_wait() -> None:
    raise AssertionError("nobody else builds this")


def _build(store: Store, content: str = "x") -> Artifact:
    with store.building("stage", "k", _no_wait) as build:
        assert isinstance(build, Build)
        (build.work / "content").write_text(content)
        return build.publish({"results": {"n": 1}})


def test_key_ignores_the_order_of_keys_and_sees_every_value() -> None:
    identity = {"stage": "s", "config": {"a": 1, "b": [1, 2]}}
    assert key_of(identity) == key_of({"config": {"b": [1, 2], "a": 1}, "stage": "s"})
    assert key_of(identity) != key_of({"stage": "s", "config": {"a": 1, "b": [2, 1]}})
    assert key_of({"x": 1}) != key_of({"x": 1.5})


def test_published_artifact_is_found_with_its_manifest_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("stage", "k") is None
    artifact = _build(store)
    assert store.find("stage", "k") == artifact
    assert artifact.manifest["results"] == {"n": 1}
    assert sorted(p.name for p in artifact.path.iterdir()) == ["content", "manifest.json"]


def test_second_builder_gets_what_the_first_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = _build(store)
    with store.building("stage", "k", _no_wait) as build:
        assert build == first


def test_failed_build_publishes_nothing_and_keeps_its_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.building("stage", "k", _no_wait) as build:
        assert isinstance(build, Build)
        (build.work / "half").write_text("done")
        raise RuntimeError
    assert store.find("stage", "k") is None
    with store.building("stage", "k", _no_wait) as again:
        assert isinstance(again, Build)
        assert (again.work / "half").read_text() == "done"


def test_taking_over_fences_the_former_owner_off(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.building("stage", "k", _no_wait) as orphaned:
        assert isinstance(orphaned, Build)
        check_fence(orphaned.work, orphaned.token)
    _build(store)
    with pytest.raises(StoreError, match="taken over"):
        check_fence(orphaned.work, orphaned.token)
    with pytest.raises(StoreError, match="taken over"):
        orphaned.publish({})
    assert store.at("stage", "k").manifest["results"] == {"n": 1}


def _hold_forever(root: Path, ready: "multiprocessing.synchronize.Event") -> None:
    store = Store(root)
    with store.building("stage", "k", _no_wait) as build:
        assert isinstance(build, Build)
        with holding_work(build.work):
            (build.work / "half").write_text("from the dead")
            ready.set()
            time.sleep(600)


def test_killed_builder_leaves_its_work_and_no_lock(tmp_path: Path) -> None:
    ready = SPAWN.Event()
    process = SPAWN.Process(target=_hold_forever, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = Store(tmp_path)
    with store.building("stage", "k", _no_wait) as build, holding_work(build.work):  # type: ignore[union-attr]
        assert isinstance(build, Build)
        assert (build.work / "half").read_text() == "from the dead"


def _wait_and_read(root: Path, waiting: "multiprocessing.synchronize.Event", out: Path) -> None:
    with Store(root).building("stage", "k", waiting.set) as build:
        out.write_text("reused" if isinstance(build, Artifact) else "built again")


def test_waiting_builder_reuses_what_the_other_publishes(tmp_path: Path) -> None:
    store, out, waiting = Store(tmp_path / "store"), tmp_path / "out", SPAWN.Event()
    with store.building("stage", "k", _no_wait) as build:
        assert isinstance(build, Build)
        process = SPAWN.Process(target=_wait_and_read, args=(store.root, waiting, out))
        process.start()
        assert waiting.wait(60)
        build.publish({"results": {}})
    process.join(60)
    assert out.read_text() == "reused"


def test_small_artifact_is_added_once_and_a_second_add_is_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.add("checkpoint", "k", lambda p: (p / "w").write_text("first") and None, step=1)
    store.add("checkpoint", "k", lambda p: (p / "w").write_text("second") and None, step=1)
    assert (first.path / "w").read_text() == "first"
    assert [p.name for p in (tmp_path / "checkpoint").iterdir()] == ["k"]


def test_what_a_killed_process_had_half_added_is_replaced(tmp_path: Path) -> None:
    def killed(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.add("checkpoint", "k", killed, step=1)
    added = store.add("checkpoint", "k", lambda folder: (folder / "w").touch(), step=1)
    assert {p.name for p in added.path.iterdir()} == {"w", "manifest.json"}
    assert [p.name for p in (tmp_path / "checkpoint").iterdir()] == ["k"]
