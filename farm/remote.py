"""A folder at a URL, with the few things that a store asks of it."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from farm.errors import ConfigError, StoreError


class Remote:
    """Files below a URL that fsspec knows, by names relative to it. Raises ConfigError for a URL
    that it does not, or that shows a password, and StoreError where the storage fails. Pickled, it
    takes no credentials along: every machine finds its own."""

    def __init__(self, url: str) -> None:
        if urlsplit(url).password is not None:
            raise ConfigError(
                "mirror: the URL shows a password, which would stand in every run's config. Leave "
                "it to where fsspec's library for this kind of storage looks: the environment or "
                "its own file."
            )
        self.url = url
        self._files, self._base = _file_system(url)

    def read(self, name: str) -> str | None:
        """A small file's text; None where there is no such file."""
        try:
            text: str = self._files.cat_file(self._at(name)).decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error
        return text

    def write(self, name: str, text: str) -> None:
        """Replace a small file; a reader sees the old text or the new, never half of it."""
        partial = f"{self._at(name)}.tmp"
        self._make_parent(partial)
        self._tried(self._files.pipe_file, partial, text.encode())
        self._tried(self._files.mv, partial, self._at(name))

    def put(self, path: Path, name: str) -> None:
        """Copy a file there."""
        self._make_parent(self._at(name))
        self._tried(self._files.put_file, str(path), self._at(name))

    def get(self, name: str, path: Path) -> None:
        """Copy a file here, into a folder that is made where it is missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._tried(self._files.get_file, self._at(name), str(path))

    def names(self, folder: str) -> Iterator[str]:
        """Of all files below a folder, relative to it. Raises StoreError for one that leads out."""
        self._files.invalidate_cache()
        top = PurePosixPath(self._at(folder))
        for found in self._tried(self._files.find, str(top)):
            yield inside(str(PurePosixPath(found).relative_to(top)))

    def remove(self, name: str) -> None:
        """Delete a file, or a folder with all that is in it, where it is there."""
        self._files.invalidate_cache()
        if self._tried(self._files.exists, self._at(name)):
            self._tried(lambda: self._files.rm(self._at(name), recursive=True))

    def _at(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _make_parent(self, path: str) -> None:
        self._tried(lambda: self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True))

    def _tried(self, act: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(
            f"mirror={self.url}: {error}. What is finished is kept in runs_dir; the same command "
            "goes on from there."
        )


def inside(name: str) -> str:
    """The name, where it is that of a file below some folder. Raises StoreError where it leads out:
    what a copy says is data."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise StoreError(f"mirror: {name} would be written outside its artefact.")
    return name


def _file_system(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    try:
        files, base = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"mirror={url}: {error}. Give a URL such as s3://BUCKET/FOLDER whose fsspec package is "
            "installed, or a folder."
        ) from error
    return files, base.rstrip("/")
