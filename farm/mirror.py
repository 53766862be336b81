"""A copy of the store at a URL, for machines that share no file system and for those that die.

Finished artefacts are copied there file by file, the manifest last: what has no manifest does not
count. What a store lacks is fetched from there before anything is built. Artefacts are named by
what they are made from, so two machines that build the same one do not harm each other.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from farm.artifacts import MANIFEST, Artifact, Store
from farm.errors import ConfigError, StoreError
from farm.stages.job import CHECKPOINT_STAGE


class MirroredStore(Store):
    """A store below a local folder with a copy at a URL that fsspec knows. Raises ConfigError for
    a URL that it does not, or that shows a password, and StoreError where the copy fails."""

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        if urlsplit(url).password is not None:
            raise ConfigError(
                "mirror: the URL shows a password, which would stand in every run's config. Leave "
                "it to where fsspec's library for this kind of storage looks: the environment or "
                "its own file."
            )
        self._url = url
        self._remote, self._base = _file_system(url)

    def find(self, stage: str, key: str) -> Artifact | None:
        """The finished artefact, fetched where only the copy has it."""
        return super().find(stage, key) or self._fetch(self.at(stage, key))

    def keep(self, artifact: Artifact) -> None:
        """Copy it after its checkpoints, the manifest last."""
        for checkpoint in self._checkpoints(artifact):
            self.keep(checkpoint)
        files = sorted(path for path in artifact.path.rglob("*") if path.is_file())
        files.sort(key=lambda path: path == artifact.path / MANIFEST)
        for path in files:
            name = path.relative_to(artifact.path).as_posix()
            self._tried(self._put, path, f"{self._place(artifact)}/{name}")

    def _fetch(self, artifact: Artifact) -> Artifact | None:
        place = self._place(artifact)
        if not self._tried(self._remote.exists, f"{place}/{MANIFEST}"):
            return None
        partial = artifact.path.with_name(f"{artifact.key}.{os.getpid()}.fetched")
        shutil.rmtree(partial, ignore_errors=True)
        for remote in self._tried(self._remote.find, place):
            path = partial / _inside(remote, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._tried(self._remote.get_file, remote, str(path))
        try:
            partial.rename(artifact.path)
        except OSError:  # somebody else has fetched it meanwhile
            shutil.rmtree(partial, ignore_errors=True)
        for checkpoint in self._checkpoints(artifact):
            self.find(checkpoint.stage, checkpoint.key)
        return artifact

    def _checkpoints(self, artifact: Artifact) -> list[Artifact]:
        """Those that a learned policy's manifest names."""
        named = artifact.manifest.get("results", {}).get("checkpoints", {})
        return [self.at(CHECKPOINT_STAGE, checkpoint["key"]) for checkpoint in named.values()]

    def _place(self, artifact: Artifact) -> str:
        return f"{self._base}/{artifact.stage}/{artifact.key}"

    def _put(self, path: Path, remote: str) -> None:
        self._remote.makedirs(str(PurePosixPath(remote).parent), exist_ok=True)
        self._remote.put_file(str(path), remote)

    def _tried(self, act: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except OSError as error:
            raise StoreError(
                f"mirror={self._url}: {error}. What is finished is kept in {self.root}; the same "
                "command goes on from there."
            ) from error


def open_store(root: Path, mirror: str | None) -> Store:
    """The store below a folder, with its copy where `mirror` names one."""
    return Store(root) if mirror is None else MirroredStore(root, mirror)


def _file_system(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    try:
        remote, base = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"mirror={url}: {error}. Give a URL such as s3://BUCKET/FOLDER whose fsspec package is "
            "installed, or a folder."
        ) from error
    return remote, base.rstrip("/")


def _inside(remote: str, place: str) -> Path:
    """A remote file's path below its artefact. Raises StoreError for one that leads out of it."""
    relative = PurePosixPath(remote).relative_to(PurePosixPath(place))
    if ".." in relative.parts:
        raise StoreError(f"mirror: {remote} would be written outside its artefact.")
    return Path(*relative.parts)
