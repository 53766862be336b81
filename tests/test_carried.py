"""Work in progress between machines: snapshots are whole, and continued wherever the work goes."""

import itertools
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from farm.artifacts import Build
from farm.carried import CarriedFolder
from farm.elsewhere import opened
from farm.errors import StoreError
from farm.mirror import MirroredStore
from farm.remote import Remote
from farm.training.ranks import Alone
from farm.work_folder import CommonFolder

SPAWN = multiprocessing.get_context("spawn")
Contents = dict[str, str]


class Machine:
    """One with a store of its own, and a folder of work in it."""

    def __init__(self, tmp_path: Path, name: str) -> None:
        self.store = MirroredStore(tmp_path / name, Remote(f"file://{tmp_path}/mirror"))
        self.work = tmp_path / name / "policy" / "k.partial"

    def claimed(self) -> str:
        """A driver's token, whose run was killed."""
        with self.store.building("policy", "k", lambda: None) as build:
            assert isinstance(build, Build)
            return build.token

    def opened(self, token: str) -> CarriedFolder:
        folder = self.store.work_folder(self.work, token)
        folder.reach()
        folder.open()
        return folder

    def write(self, files: Contents) -> None:
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    @property
    def files(self) -> Contents:
        return {
            path.relative_to(self.work).as_posix(): path.read_text()
            for path in self.work.rglob("*")
            if path.is_file() and path.name not in (".fence", ".carried")
        }


@pytest.fixture
def driver(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "driver")


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "one")


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "other")


def test_another_machine_goes_on_from_the_last_snapshot(
    driver: Machine, one: Machine, other: Machine
) -> None:
    token = driver.claimed()
    folder = one.opened(token)
    one.write({"log": "1", "resume/state-1/state": "1"})
    folder.save()
    (one.work / "resume" / "state-1" / "state").unlink()
    (one.work / "resume" / "state-1").rmdir()
    one.write({"log": "12", "resume/state-2/state": "2", "parts/a": "a"})
    folder.save()
    saved = one.files
    one.write({"log": "123", "resume/state-3": "lost with the machine"})

    other.opened(token)
    assert other.files == saved
    assert not (other.work / "resume" / "state-1").exists()


def test_snapshot_that_a_kill_cuts_short_does_not_count(
    driver: Machine, one: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = driver.claimed()
    folder = one.opened(token)
    one.write({"log": "1", "state": "1"})
    folder.save()
    one.write({"log": "12", "state": "2"})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(one.store._remote, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.save()
    other.opened(token)
    assert other.files == {"log": "1", "state": "1"}


def test_machine_that_comes_back_drops_what_others_have_overtaken(
    driver: Machine, one: Machine, other: Machine
) -> None:
    token = driver.claimed()
    one.opened(token)
    one.write({"log": "1"})
    one.store.work_folder(one.work, token).save()
    one.write({"log": "1, then alone", "policy/weights": "alone"})

    there = other.opened(token)
    other.write({"log": "1, then elsewhere"})
    there.save()

    one.opened(token)
    assert one.files == {"log": "1, then elsewhere"}
    assert not (one.work / "policy").exists(), "an empty folder might count as a finished one"


def test_machine_that_was_not_overtaken_keeps_what_it_did_since(
    driver: Machine, one: Machine
) -> None:
    token = driver.claimed()
    one.opened(token)
    one.write({"log": "1"})
    one.store.work_folder(one.work, token).save()
    one.write({"log": "12"})
    one.opened(token)
    assert one.files == {"log": "12"}


def test_orphan_on_another_machine_saves_nothing_more(
    driver: Machine, one: Machine, other: Machine
) -> None:
    orphan = one.opened(driver.claimed())
    one.write({"log": "1"})
    orphan.save()
    token = driver.claimed()
    one.write({"log": "orphaned"})
    with pytest.raises(StoreError, match="taken over"):
        orphan.save()
    with pytest.raises(StoreError, match="taken over"):
        orphan.reach()
    other.opened(token)
    assert other.files == {"log": "1"}


def test_what_was_replaced_is_deleted_there_and_all_of_it_at_the_end(
    driver: Machine, one: Machine, tmp_path: Path
) -> None:
    folder = one.opened(driver.claimed())
    for content in ("1", "22", "333"):
        one.write({"state": content, "kept": "k"})
        folder.save()
    copies = tmp_path / "mirror" / "policy" / "k.partial" / "files"
    assert sorted(p.read_text() for p in copies.rglob("*") if p.is_file()) == ["333", "k"]
    folder.remove()
    assert not list((tmp_path / "mirror" / "policy").iterdir())


def test_ranks_hand_their_files_to_each_other(
    driver: Machine, one: Machine, other: Machine
) -> None:
    token = driver.claimed()
    first, second = one.opened(token), other.opened(token)
    assert first.identity() != second.identity()
    assert first.identity() == one.opened(token).identity()
    other.write({"spent-1": "mine"})
    one.write({"policy/weights": "w"})
    first.place(second.unsaved())
    first.save()
    second.update()
    assert one.files == other.files == {"policy/weights": "w", "spent-1": "mine"}
    assert not second.unsaved()


def test_worker_without_the_drivers_files_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"does not see .*runs_dir.*share.*mirror=URL"):
        CommonFolder(tmp_path / "policy" / "k.partial", "token").reach()


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped"])
def test_snapshot_that_would_write_outside_the_folder_is_refused(
    name: str, driver: Machine, one: Machine, tmp_path: Path
) -> None:
    token = driver.claimed()
    index = {"snapshot": "000001-x", "files": {name: "000001-x"}}
    (tmp_path / "mirror" / "policy" / "k.partial" / "index.json").write_text(json.dumps(index))
    with pytest.raises(StoreError, match="outside its artefact"):
        one.opened(token)


def _save_forever(tmp_path: Path, token: str) -> None:
    """Two files that say the same in every snapshot, and a third whose name changes."""
    machine = Machine(tmp_path, f"killed-{os.getpid()}")
    folder = machine.opened(token)
    for number in itertools.count(int(machine.files.get("one", "0")) + 1):
        for old in machine.work.glob("state-*"):
            old.unlink()
        machine.write({"one": f"{number}", "other": f"{number}", f"state-{number}": "s" * 100_000})
        folder.save()


def test_killed_machine_leaves_a_whole_snapshot(
    driver: Machine, other: Machine, tmp_path: Path
) -> None:
    index = tmp_path / "mirror" / "policy" / "k.partial" / "index.json"
    seen = 0
    for _ in range(2):
        token, before = driver.claimed(), index.read_text() if index.exists() else ""
        process = SPAWN.Process(target=_save_forever, args=(tmp_path, token))
        process.start()
        deadline = time.monotonic() + 60
        while not index.exists() or index.read_text() == before:
            assert time.monotonic() < deadline
        process.kill()
        process.join()
        other.opened(token)
        number = int(other.files["one"])
        assert set(other.files) == {"one", "other", f"state-{number}"}
        assert other.files["other"] == other.files["one"]
        assert number > seen
        seen = number


class Together(Alone):
    """Ranks in threads."""

    def __init__(self, rank: int, meeting: threading.Barrier, said: list[Any]) -> None:
        self.rank, self.count = rank, meeting.parties
        self._meeting, self._said = meeting, said

    def gather(self, mine: Sequence[Any]) -> list[Any]:
        (self._said[self.rank],) = mine
        self._meeting.wait(60)
        found = list(self._said)
        self._meeting.wait(60)
        return found

    def once(self, work: Callable[[], Any]) -> Any:
        return self.gather([work() if self.rank == 0 else None])[0]


def test_ranks_on_several_machines_see_what_rank_0_has_written(
    driver: Machine, one: Machine, other: Machine
) -> None:
    """Ranks 0 and 1 share a machine, 2 and 3 another."""
    token, meeting, said = driver.claimed(), threading.Barrier(4), [None] * 4
    machines = [one, one, other, other]
    seen: dict[int, list[Contents]] = {}

    def program(rank: int) -> None:
        machine = machines[rank]
        folder = machine.store.work_folder(machine.work, token)
        folder.reach()
        ranks = opened(folder, Together(rank, meeting, said))
        machine.write({f"spent-{rank}": f"{rank}"})
        ranks.gather([None])
        assert ranks.once(lambda: machine.write({"policy/weights": "w"})) is None
        seen[rank] = [machine.files]
        ranks.gather([None])
        ranks.once(lambda: (machine.work / "policy" / "weights").unlink())
        seen[rank].append(machine.files)

    threads = [threading.Thread(target=program, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    spent = {f"spent-{rank}": f"{rank}" for rank in range(4)}
    assert seen == {rank: [{**spent, "policy/weights": "w"}, spent] for rank in range(4)}
