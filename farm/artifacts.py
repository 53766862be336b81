"""Content-addressed store of what stages make.

`<root>/<stage>/<key>/` holds one finished artefact and its `manifest.json`. A stage works in
`<key>.partial/`, which survives a kill and is continued; the driver publishes it by rename.
Three things keep two runs apart: the driver's lock (`<key>.lock`), the worker's lock
(`<key>.work.lock`), so that a new driver's worker waits for an orphan to let go, and the fencing
token in the partial folder, so that the orphan notices that its folder was taken over.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from farm.errors import DataError, StoreError
from farm.work_folder import (
    FENCE,
    STATE,
    CommonFolder,
    WorkFolder,
    check_fence,
    new_fence,
    not_seen,
)

MANIFEST = "manifest.json"


def key_of(identity: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of an artefact's identity as canonical JSON."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_hash(path: Path) -> str:
    """`sha256:` and the hash of a file, or of the names and contents of all files of a folder.
    Raises DataError where there is neither."""
    if path.is_file():
        return f"sha256:{_sha256(path)}"
    if not path.is_dir():
        raise DataError(
            f"{path}: there is no such file or folder. Give it as it is seen from here."
        )
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{file.relative_to(path).as_posix()} {_sha256(file)}\n" for file in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write so that a reader sees the old text or the new, never half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_text(text)
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """`write_text` of JSON."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@dataclass(frozen=True)
class Artifact:
    """One published folder of the store."""

    stage: str
    key: str
    path: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """What it was made from, by which versions, and the stage's own results under `results`."""
        manifest: dict[str, Any] = json.loads((self.path / MANIFEST).read_text())
        return manifest


@dataclass(frozen=True)
class Build:
    """A partial folder that this driver may publish."""

    work: Path
    token: str
    target: Artifact

    def publish(self, manifest: Mapping[str, Any]) -> Artifact:
        """Turn the partial folder into the artefact. Raises StoreError when fenced off."""
        check_fence(self.work, self.token)
        write_json(self.work / MANIFEST, manifest)
        for own in (FENCE, STATE):
            (self.work / own).unlink(missing_ok=True)
        self.work.rename(self.target.path)
        return self.target


class Store:
    """Artefacts below one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, stage: str, key: str) -> Artifact:
        """Where an artefact is, or would be."""
        return Artifact(stage, key, self.root / stage / key)

    def find(self, stage: str, key: str) -> Artifact | None:
        """The finished artefact, if there is one."""
        artifact = self.at(stage, key)
        return artifact if (artifact.path / MANIFEST).exists() else None

    @contextmanager
    def building(
        self, stage: str, key: str, on_wait: Callable[[], None]
    ) -> Iterator[Build | Artifact]:
        """The right to build an artefact, or the artefact that another run built meanwhile.

        `on_wait` is called once when another run holds the right; then this blocks until that run
        publishes or dies.
        """
        target = self.at(stage, key)
        target.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.path.with_name(f"{key}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire(poll_interval=0.2)
        try:
            yield self.find(stage, key) or self._take_over(target)
        finally:
            lock.release()

    def keep(self, artifact: Artifact) -> None:
        """A published artefact is safe where it is."""

    def have(self, paths: Iterable[Path]) -> None:
        """Artefacts' folders, on this machine. Raises StoreError for one that it does not see."""
        for path in paths:
            if not path.exists():
                raise StoreError(not_seen(path))

    def work_folder(self, work: Path, token: str) -> WorkFolder:
        """A partial folder as workers see it, on whichever machine."""
        return CommonFolder(work, token)

    def resolved(self) -> "Store":
        """The same for processes with other working directories."""
        return Store(self.root.resolve())

    @property
    def identity(self) -> str:
        """The same for all drivers that share what is built."""
        return str(self.root.resolve())

    def _take_over(self, target: Artifact) -> Build:
        work = target.path.with_name(f"{target.key}.partial")
        work.mkdir(exist_ok=True)
        return Build(work, new_fence(work), target)

    def add(self, stage: str, key: str, save: Callable[[Path], None], **manifest: Any) -> Artifact:
        """Publish a small artefact in one go. The caller holds the lock of what it belongs to, so
        nobody else adds it; what a killed caller left half written is replaced."""
        target = self.at(stage, key)
        if (existing := self.find(stage, key)) is not None:
            return existing
        work = target.path.with_name(f"{key}.tmp")
        if work.exists():
            shutil.rmtree(work)
        work.mkdir(parents=True)
        save(work)
        write_json(work / MANIFEST, {"stage": stage, "key": key, **manifest})
        work.rename(target.path)
        return target
