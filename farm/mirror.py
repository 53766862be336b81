"""A copy of the store at a URL, for machines that share no file system and for those that die.

Finished artefacts are copied there file by file, the manifest last: what has no manifest does not
count. Checkpoints are copied as soon as they are published, and work in progress as snapshots
(`farm.carried`). What a machine's own store lacks is fetched from there before anything is built;
its files lie at the same path as the driver's. Artefacts are named by what they are made from, so
two machines that build the same one do not harm each other.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from farm.artifacts import MANIFEST, Artifact, Build, Store
from farm.carried import CarriedFolder
from farm.errors import StoreError
from farm.remote import Remote
from farm.stages.job import CHECKPOINT_STAGE
from farm.stages.pointers import pointed
from farm.work_folder import make_folder


class MirroredStore(Store):
    """A store below a local folder with a copy at a URL that fsspec knows. Raises ConfigError for
    a URL that it does not, or that shows a password, and StoreError where the copy fails."""

    def __init__(self, root: Path, remote: Remote) -> None:
        super().__init__(root)
        self._remote = remote

    def find(self, stage: str, key: str) -> Artifact | None:
        """The finished artefact with its checkpoints, fetched where only the copy has them."""
        artifact = super().find(stage, key) or self._fetch(self.at(stage, key))
        if artifact is not None:
            for checkpoint in self._checkpoints(artifact):
                self.find(checkpoint.stage, checkpoint.key)
        return artifact

    def have(self, paths: Iterable[Path]) -> None:
        """Artefacts' folders without their checkpoints, fetched where only the copy has them."""
        for path in paths:
            artifact = self.at(path.parent.name, path.name)
            if path.exists() or (artifact.path == path and self._fetch(artifact)):
                continue
            raise StoreError(
                f"There is no {path} on this machine, and {self._remote.url} has no copy of it. "
                "Start the run again where it was begun, so that what is finished there is copied."
            )

    def keep(self, artifact: Artifact) -> None:
        """Copy what the copy lacks, after its checkpoints, the manifest last; then the work that
        has led to it is dropped there."""
        place = _place(artifact)
        if self._remote.read(f"{place}/{MANIFEST}") is not None:
            return
        for checkpoint in self._checkpoints(artifact):
            if self.find(checkpoint.stage, checkpoint.key):
                self.keep(checkpoint)
        manifest = artifact.path / MANIFEST
        for path in sorted(path for path in artifact.path.rglob("*") if path.is_file()):
            if path != manifest:
                self._remote.put(path, f"{place}/{path.relative_to(artifact.path).as_posix()}")
        self._remote.write(f"{place}/{MANIFEST}", manifest.read_text())
        self._remote.remove(f"{place}.partial")

    def work_folder(self, work: Path, token: str) -> CarriedFolder:
        """The folder with its copy."""
        return CarriedFolder(self._remote, f"{work.parent.name}/{work.name}", work, token)

    def resolved(self) -> "MirroredStore":
        """The same for processes with other working directories."""
        return MirroredStore(self.root.resolve(), self._remote)

    @property
    def identity(self) -> str:
        """The URL: drivers on several machines have roots of their own."""
        return self._remote.url

    def _take_over(self, target: Artifact) -> Build:
        build = super()._take_over(target)
        self.work_folder(build.work, build.token).claim()
        return build

    def _fetch(self, artifact: Artifact) -> Artifact | None:
        """Of this machine's processes one at a time; None where there is no copy."""
        place = _place(artifact)
        if self._remote.read(f"{place}/{MANIFEST}") is None:
            return None
        make_folder(artifact.path.parent)
        with FileLock(artifact.path.with_name(f"{artifact.key}.fetch.lock")):
            if not artifact.path.exists():
                partial = artifact.path.with_name(f"{artifact.key}.{os.getpid()}.fetched")
                shutil.rmtree(partial, ignore_errors=True)
                for name in self._remote.names(place):
                    self._remote.get(f"{place}/{name}", partial / name)
                partial.rename(artifact.path)
        self.have(pointed(artifact.path))
        return artifact

    def _checkpoints(self, artifact: Artifact) -> list[Artifact]:
        """Those that a learned policy's manifest names."""
        named = artifact.manifest.get("results", {}).get("checkpoints", {})
        return [self.at(CHECKPOINT_STAGE, checkpoint["key"]) for checkpoint in named.values()]


def _place(artifact: Artifact) -> str:
    return f"{artifact.stage}/{artifact.key}"


def open_store(root: Path, mirror: str | None) -> Store:
    """The store below a folder, with its copy where `mirror` names one."""
    return Store(root) if mirror is None else MirroredStore(root, Remote(mirror))
