"""AlpacaFarm's instructions (arXiv 2305.14387), from the hub or from a local copy.

The hub's loading script is not run: the JSON files are read by name.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from farm.artifacts import content_hash
from farm.data.files import read_rows
from farm.data.splits import disjoint
from farm.errors import ConfigError, DataError
from farm.hub import HubRepository
from farm.types import Instruction, SplitName

REPOSITORY = "tatsu-lab/alpaca_farm"

SPLIT_FILES: Mapping[SplitName, str] = {
    "sft": "alpaca_instructions/sft.json",
    "preference": "alpaca_instructions/preference.json",
    "unlabeled": "alpaca_instructions/unlabeled.json",
    "validation": "alpaca_instructions/val.json",
    "evaluation": "alpaca_farm_evaluation.json",
}


class AlpacaFarm:
    """An `InstructionSource`: AlpacaFarm's own splits.

    Read at `revision` (branch, tag or commit) of the hub's repository, or from `path`, a local
    copy with the same layout. An instruction that occurs in several splits stays in the first of
    evaluation, validation, sft, preference and unlabeled. The evaluation file's `dataset` is the
    category.
    """

    stage_version: ClassVar[int] = 2
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})  # its content counts

    def __init__(self, revision: str | None = None, path: str | None = None) -> None:
        if revision is not None and path is not None:
            raise ConfigError(
                f"data.revision={revision}: a local copy (data.path) has no revision; give one of "
                "the two."
            )
        self.path = None if path is None else Path(path)
        self._hub = HubRepository(
            REPOSITORY,
            "dataset",
            revision,
            instead="Offline, set data.path to a local copy of that repository, or data.revision "
            "to a commit that was downloaded before.",
        )

    def load(self) -> dict[SplitName, list[Instruction]]:
        """All five splits. Raises DataError."""
        splits = {name: read_rows(self._file(file)) for name, file in SPLIT_FILES.items()}
        return disjoint(splits)

    def pinned(self) -> dict[str, str]:
        """The revision as the hub's commit."""
        return {"revision": self._hub.commit} if self.path is None else {}

    def resolved(self) -> dict[str, str]:
        """The content hashes of the local files."""
        if self.path is None:
            return {}
        return {file: content_hash(self._file(file)) for file in SPLIT_FILES.values()}

    @cached_property
    def _root(self) -> Path:
        if self.path is not None:
            return self.path
        return self._hub.download(list(SPLIT_FILES.values()))

    def _file(self, name: str) -> Path:
        file = self._root / name
        if not file.is_file():
            raise DataError(
                f"{file}: there is no such file. A copy of {REPOSITORY} has "
                f"{', '.join(SPLIT_FILES.values())}."
            )
        return file
