"""Repositories of the Hugging Face hub: revisions become commits, files are read at a commit."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from farm.errors import DataError


@dataclass(frozen=True)
class HubRepository:
    """A repository at a revision. Its methods raise DataError where the hub cannot be read."""

    name: str
    kind: Literal["model", "dataset"]
    revision: str | None
    """A branch, tag or commit; None: the main branch as it is when first asked for."""
    instead: str
    """What the user can do where the hub is out of reach; ends the error's text."""

    @cached_property
    def commit(self) -> str:
        """The commit that the revision names, resolved once."""
        from huggingface_hub import HfApi

        if self.revision is not None and re.fullmatch(r"[0-9a-f]{40}", self.revision):
            return self.revision
        try:
            info = HfApi().repo_info(
                self.name, repo_type=self.kind, revision=self.revision, timeout=20
            )
        except _errors() as error:
            raise self._unreachable(error) from error
        if info.sha is None:
            raise DataError(f"The hub names no commit of {self.name}. {self.instead}")
        return info.sha

    def download(self, patterns: list[str]) -> Path:
        """The local folder with the files that match, at the commit."""
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                self.name, repo_type=self.kind, revision=self.commit, allow_patterns=patterns
            )
        except _errors() as error:
            raise self._unreachable(error) from error
        return Path(folder)

    def _unreachable(self, error: Exception) -> DataError:
        reason = (str(error).splitlines() or ["no details"])[0]
        return DataError(
            f"{self.name} ({self.kind}, revision {self.revision or 'main'}) cannot be read from "
            f"the Hugging Face hub: {type(error).__name__}: {reason} {self.instead}"
        )


def _errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError

    # The hub's HTTP client has its own base class (httpx's), which HfHubHTTPError inherits.
    client_errors = [c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError"]
    return (OSError, ValueError, *client_errors)
