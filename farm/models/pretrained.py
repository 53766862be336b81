"""A causal language model that exists already: a local directory or a name on the hub."""

import re
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from farm.artifacts import content_hash
from farm.errors import ConfigError
from farm.hub import HubRepository
from farm.types import Instruction

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILES = ["model*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]


class Pretrained:
    """A `ModelSource`: any causal language model that transformers loads, with its own tokenizer
    and chat template (`farm.models.chat`).

    `path` is a directory or a hub name; `revision` a branch, tag or commit on the hub. Weights are
    safetensors. Raises ConfigError for a directory that is missing or holds pickled weights only.
    """

    stage_version: ClassVar[int] = 1
    # A directory counts by its content, a hub name by the commit that `revision` is pinned to.
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})

    def __init__(
        self,
        path: str,
        max_prompt_tokens: int,
        max_new_tokens: int,
        revision: str | None = None,
    ) -> None:
        for key, value in (
            ("max_prompt_tokens", max_prompt_tokens),
            ("max_new_tokens", max_new_tokens),
        ):
            if value < 1:
                raise ConfigError(f"model.{key}={value}: must be at least 1.")
        self.path = path
        self.max_prompt_tokens = max_prompt_tokens
        self.max_new_tokens = max_new_tokens
        self._hub = HubRepository(
            path,
            "model",
            revision,
            instead=f"There is no directory {path} here either. Offline, name a directory that is, "
            "or set model.revision to a commit that was downloaded before.",
        )
        self._check_path(revision)

    def build(self, texts: Sequence[Instruction], work: Path, *, seed: int) -> str:
        """A copy in `work`: neither a directory that changes later nor a hub cache that is emptied
        reaches it."""
        folder = self._folder
        _check_weights(folder)
        self._check_positions(folder)
        work.mkdir(parents=True, exist_ok=True)
        for pattern in _FILES:
            for file in folder.glob(pattern):
                shutil.copy(file, work)
        return str(work)

    def pinned(self) -> dict[str, str]:
        """The revision as the hub's commit."""
        return {} if self._is_local else {"revision": self._hub.commit}

    def resolved(self) -> dict[str, str]:
        """The hash of a directory's content."""
        return {"path": content_hash(Path(self.path))} if self._is_local else {}

    @property
    def _is_local(self) -> bool:
        return Path(self.path).is_dir()

    @cached_property
    def _folder(self) -> Path:
        return Path(self.path).resolve() if self._is_local else self._hub.download(_FILES)

    def _check_path(self, revision: str | None) -> None:
        if self._is_local:
            _check_weights(Path(self.path))
            if revision is not None:
                raise ConfigError(
                    f"model.revision={revision}: the directory {self.path} has no revisions; "
                    "leave it null."
                )
        elif not _HUB_NAME.fullmatch(self.path):
            raise ConfigError(
                f"model.path={self.path}: there is no such directory, and it is no hub name "
                "(OWNER/NAME) either."
            )

    def _check_positions(self, folder: Path) -> None:
        from farm.models.load import load_config

        config = load_config(folder).get_text_config()
        limit: int | None = getattr(config, "max_position_embeddings", None)
        wanted = self.max_prompt_tokens + self.max_new_tokens
        if limit is not None and wanted > limit:
            raise ConfigError(
                f"model.max_prompt_tokens + model.max_new_tokens = {wanted}: {self.path} has only "
                f"{limit} positions."
            )


def _check_weights(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(file.name for file in [*folder.glob("*.bin"), *folder.glob("*.pt")])
    found = f"only {', '.join(pickled)}, pickled weights, which can run code" if pickled else "none"
    raise ConfigError(
        f"model.path={folder}: weights in safetensors format are needed, and there are {found}. "
        "Right would be a directory that transformers' save_pretrained wrote."
    )
