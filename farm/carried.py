"""Work in progress that goes from machine to machine through a URL.

The partial folder of an artefact has a copy there: snapshots, each whole or absent. Files are put
under a name of their own, then `index.json`, which says what belongs to the snapshot, is replaced;
what no index names any more is deleted last. Whoever continues the work, on whichever machine,
begins from the last snapshot. The driver's fencing token lies beside it: a worker whose driver was
replaced saves nothing more.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from farm.artifacts import write_json
from farm.remote import Remote, inside
from farm.work_folder import FENCE, STATE, make_folder, taken_over, write_fence

_INDEX = "index.json"
_NONE = ""
"""The name of the snapshot before the first."""


class _Stamp(NamedTuple):
    """What tells a file from what it was when it was last copied."""

    snapshot: str
    """That brought it."""
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class _State:
    """Which snapshot a folder on this machine has grown from, kept in the folder."""

    folder: str
    """Another one on every machine that has a folder of its own."""
    snapshot: str
    files: dict[str, _Stamp]

    @staticmethod
    def read(work: Path) -> "_State":
        file = work / STATE
        if not file.exists():
            return _State(secrets.token_hex(8), _NONE, {})
        known: dict[str, Any] = json.loads(file.read_text())
        files = {name: _Stamp(*stamp) for name, stamp in known["files"].items()}
        return _State(known["folder"], known["snapshot"], files)

    def write(self, work: Path) -> None:
        write_json(work / STATE, {**vars(self), "files": {n: [*s] for n, s in self.files.items()}})


class CarriedFolder:
    """A `farm.artifacts.WorkFolder` with a copy at `place` of a remote folder."""

    def __init__(self, remote: Remote, place: str, work: Path, token: str) -> None:
        self._remote, self._place = remote, place
        self._work, self._token = work, token

    def claim(self) -> None:
        """From now on this token's owner alone may save."""
        self._remote.write(f"{self._place}/{FENCE}", self._token)

    def reach(self) -> None:
        """Make the folder where it is missing. Raises StoreError where this machine may not, or
        another run has taken the work over."""
        self._check_claim()
        make_folder(self._work)

    def open(self) -> None:
        """The last snapshot, with what was done here since; where it has come from elsewhere, what
        is left here from before is dropped."""
        self._check_claim()
        with self._locked():
            state = _State.read(self._work)
            if self._index()[0] != state.snapshot:
                for name in self._unsaved(state):
                    self._delete(name)
            self._receive(state)
            write_fence(self._work, self._token)

    def save(self) -> None:
        """Make a snapshot of what has changed, if anything has."""
        state = _State.read(self._work)
        found = dict(_files(self._work))
        changed = [name for name in found if _differs(found[name], state.files.get(name))]
        if not changed and found.keys() == state.files.keys():
            return
        self._check_claim()
        number = int(state.snapshot.partition("-")[0] or 0) + 1
        snapshot = f"{number:06d}-{self._token}"
        for name in changed:
            self._remote.put(self._work / name, self._copy(snapshot, name))
        files = {name: state.files.get(name) for name in found}
        files |= {name: _Stamp(snapshot, *found[name]) for name in changed}
        named = {name: stamp.snapshot for name, stamp in files.items() if stamp}
        self._check_claim()  # copying may have taken long
        index = {"snapshot": snapshot, "files": named}
        self._remote.write(f"{self._place}/{_INDEX}", json.dumps(index))
        _State(state.folder, snapshot, {n: s for n, s in files.items() if s}).write(self._work)
        for name, stamp in state.files.items():
            if named.get(name) != stamp.snapshot:
                self._remote.remove(self._copy(stamp.snapshot, name))

    def update(self) -> None:
        """What another rank has saved since."""
        with self._locked():
            self._receive(_State.read(self._work))

    def identity(self) -> str:
        """Ranks that see the same folder give the same."""
        return _State.read(self._work).folder

    def unsaved(self) -> dict[str, bytes]:
        """The content of the files that no snapshot has as they are, by name."""
        return {
            name: (self._work / name).read_bytes()
            for name in self._unsaved(_State.read(self._work))
        }

    def place(self, files: dict[str, bytes]) -> None:
        """Write files that another rank has sent."""
        for name, content in files.items():
            path = self._work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def remove(self) -> None:
        """Delete the copy: the work is finished."""
        self._remote.remove(self._place)

    # ---------------------------------------------------------------------------------------

    def _check_claim(self) -> None:
        if self._remote.read(f"{self._place}/{FENCE}") != self._token:
            raise taken_over(self._work)

    def _index(self) -> tuple[str, dict[str, str]]:
        """The last snapshot's name, and which snapshot has brought each of its files."""
        text = self._remote.read(f"{self._place}/{_INDEX}")
        if text is None:
            return _NONE, {}
        index = json.loads(text)
        return index["snapshot"], {
            inside(name): brought for name, brought in index["files"].items()
        }

    def _receive(self, state: _State) -> None:
        """Make the folder what the last snapshot says, as far as it differs from `state`."""
        snapshot, named = self._index()
        files = dict(state.files)
        for name in files.keys() - named.keys():
            self._delete(name)
            del files[name]
        for name, brought in named.items():
            if name not in files or files[name].snapshot != brought:
                path = self._work / name
                partial = path.with_name(f"{path.name}.fetched")
                self._remote.get(self._copy(brought, name), partial)
                partial.replace(path)
                files[name] = _Stamp(brought, *_stat(path))
        _State(state.folder, snapshot, files).write(self._work)

    def _delete(self, name: str) -> None:
        """And the folders that it leaves empty: whether a folder is there may mean something."""
        path = self._work / name
        path.unlink(missing_ok=True)
        while path.parent != self._work and not any(path.parent.iterdir()):
            path = path.parent
            path.rmdir()

    def _unsaved(self, state: _State) -> list[str]:
        return [n for n, stat in _files(self._work) if _differs(stat, state.files.get(n))]

    def _copy(self, snapshot: str, name: str) -> str:
        return f"{self._place}/files/{snapshot}/{name}"

    def _locked(self) -> FileLock:
        """Of this machine's ranks one at a time."""
        return FileLock(self._work.with_name(f"{self._work.name}.copy.lock"))


def _files(work: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """All files of a work folder but the store's own and those that are being written, with size
    and time of change."""
    for path in sorted(work.rglob("*")):
        if path.suffix != ".tmp" and path not in (work / FENCE, work / STATE) and path.is_file():
            yield path.relative_to(work).as_posix(), _stat(path)


def _stat(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _differs(found: tuple[int, int], stamp: _Stamp | None) -> bool:
    return stamp is None or found != stamp[1:]
