"""The partial folder of an artefact, while somebody works in it: who may, and where it is.

The fencing token in it tells an orphan that its folder was taken over; it is also the probe by
which a worker finds out whether its machine sees the driver's files at all.
"""

import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from farm.errors import StoreError

FENCE = ".fence"
STATE = ".carried"
"""What `farm.carried` knows of the folder."""
_ORPHAN_TIMEOUT_S = 60.0
_VISIBLE_S = 3.0
"""A network file system may show what another machine has made a little later."""


class WorkFolder(Protocol):
    """A partial folder as its worker, and its driver afterwards, sees it. Whoever continues the
    work may sit on another machine."""

    def reach(self) -> None:
        """Raise StoreError where this machine cannot have the folder."""
        ...

    def open(self) -> None:
        """Have what was done so far. Raises StoreError where another run has taken it over."""
        ...

    def save(self) -> None:
        """Keep what is there now from being lost with this machine."""
        ...

    def update(self) -> None:
        """Have what another rank has saved."""
        ...

    def identity(self) -> str:
        """Ranks that see the same folder give the same."""
        ...

    def unsaved(self) -> dict[str, bytes]:
        """Content of files that were not saved yet, by name."""
        ...

    def place(self, files: dict[str, bytes]) -> None:
        """Write such files."""
        ...


class CommonFolder:
    """A `WorkFolder` on a file system that driver and workers share: there is nothing to carry."""

    def __init__(self, work: Path, token: str) -> None:
        self._work, self._token = work, token

    def reach(self) -> None:
        """The driver has made it."""
        deadline = time.monotonic() + _VISIBLE_S
        while not (self._work / FENCE).exists():
            if time.monotonic() > deadline:
                raise StoreError(not_seen(self._work))
            time.sleep(0.1)

    def open(self) -> None:
        """It is there."""
        check_fence(self._work, self._token)

    def save(self) -> None:
        """A lost machine does not take it along."""

    def update(self) -> None:
        """It is there."""

    def identity(self) -> str:
        """One for all."""
        return str(self._work)

    def unsaved(self) -> dict[str, bytes]:
        """None."""
        return {}

    def place(self, files: dict[str, bytes]) -> None:
        """None come."""


def not_seen(path: Path) -> str:
    """What is wrong where a machine lacks the driver's files."""
    return (
        f"{socket.gethostname()} does not see {path}, where the run keeps its files. Give "
        "`runs_dir` on a file system that all machines share, or `mirror=URL`: machines then keep "
        "files of their own and hand them on through the URL."
    )


def make_folder(path: Path) -> None:
    """A folder of this machine's own, where the driver has its. Raises StoreError where it cannot
    be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{socket.gethostname()} cannot make {path} ({error.strerror}). Give `runs_dir` as a "
            "path that every machine can write to; each keeps its own files there."
        ) from error


def new_fence(work: Path) -> str:
    """Take a partial folder over: the token that its owner shows from now on."""
    token = secrets.token_hex(8)
    write_fence(work, token)
    return token


def write_fence(work: Path, token: str) -> None:
    """Let nobody but the token's owner go on."""
    fence = work / FENCE
    partial = fence.with_suffix(".new")
    partial.write_text(token)
    partial.replace(fence)


def check_fence(work: Path, token: str) -> None:
    """Raise StoreError when another run has taken the partial folder over."""
    try:
        found = (work / FENCE).read_text()
    except FileNotFoundError:
        found = "none"
    if found != token:
        raise taken_over(work)


def taken_over(work: Path) -> StoreError:
    """What an orphan hears."""
    return StoreError(f"{work} was taken over by another run; this one stops writing to it.")


@contextmanager
def holding_work(work: Path) -> Iterator[None]:
    """The worker's own lock on a partial folder: waits for an orphan of an earlier run to end."""
    lock = FileLock(work.with_name(work.name.removesuffix(".partial") + ".work.lock"))
    try:
        lock.acquire(timeout=_ORPHAN_TIMEOUT_S, poll_interval=0.1)
    except Timeout as error:
        raise StoreError(
            f"{work} is still being written by a worker of an earlier run after "
            f"{_ORPHAN_TIMEOUT_S:.0f} s. Stop the processes named ray::Worker and start again."
        ) from error
    try:
        yield
    finally:
        lock.release()
