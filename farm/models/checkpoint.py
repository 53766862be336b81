"""A model that exists already: a local directory or a name on the hub."""

import re
from functools import cached_property
from pathlib import Path

from farm.artifacts import content_hash
from farm.errors import ConfigError
from farm.hub import HubRepository

FILES = ["model*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
"""What of a repository is a model: weights, configs, tokenizer, chat template."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Checkpoint:
    """`path` is a directory or a hub name, `revision` a branch, tag or commit on the hub, and `key`
    the part of the configuration that holds both, for errors: `model`, `reward`.

    Raises ConfigError for a directory that is missing or holds pickled weights only.
    """

    def __init__(self, path: str, revision: str | None, key: str) -> None:
        self.path = path
        self._key = key
        self._hub = HubRepository(
            path,
            "model",
            revision,
            instead=f"There is no directory {path} here either. Offline, name a directory that is, "
            f"or set {key}.revision to a commit that was downloaded before.",
        )
        if self.is_local:
            _check_weights(Path(path), key)
            if revision is not None:
                raise ConfigError(
                    f"{key}.revision={revision}: the directory {path} has no revisions; "
                    "leave it null."
                )
        elif not _HUB_NAME.fullmatch(path):
            raise ConfigError(
                f"{key}.path={path}: there is no such directory, and it is no hub name "
                "(OWNER/NAME) either."
            )

    @property
    def is_local(self) -> bool:
        """Whether it is a directory."""
        return Path(self.path).is_dir()

    @cached_property
    def folder(self) -> Path:
        """Where it lies, downloaded where needed. Raises ConfigError without safetensors weights
        and DataError where the hub cannot be read."""
        folder = Path(self.path).resolve() if self.is_local else self._hub.download(FILES)
        _check_weights(folder, self._key)
        return folder

    def pinned(self) -> dict[str, str]:
        """The revision as the hub's commit."""
        return {} if self.is_local else {"revision": self._hub.commit}

    def resolved(self) -> dict[str, str]:
        """The hash of a directory's content."""
        return {"path": content_hash(Path(self.path))} if self.is_local else {}

    def check_positions(self, tokens: int, keys: str) -> None:
        """Raise ConfigError where the model has fewer positions than `keys` ask for."""
        from farm.models.load import load_config

        config = load_config(self.folder).get_text_config()
        limit: int | None = getattr(config, "max_position_embeddings", None)
        if limit is not None and tokens > limit:
            raise ConfigError(f"{keys} = {tokens}: {self.path} has only {limit} positions.")


def _check_weights(folder: Path, key: str) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(file.name for file in [*folder.glob("*.bin"), *folder.glob("*.pt")])
    found = f"only {', '.join(pickled)}, pickled weights, which can run code" if pickled else "none"
    raise ConfigError(
        f"{key}.path={folder}: weights in safetensors format are needed, and there are {found}. "
        "Right would be a directory that transformers' save_pretrained wrote."
    )
