"""The scorer of a reward artefact."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from farm.artifacts import write_json
from farm.config import build
from farm.protocols import FloatArray, Scorer
from farm.types import Instruction

_FILE = "scorer.json"
_HERE = "{artifact}"


class StoredScorer:
    """What the artefact in `folder` says how to build; built when it is first asked."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N]."""
        scores: FloatArray = self._scorer.score(instructions, completions)
        return scores

    @cached_property
    def _scorer(self) -> Scorer:
        text = (Path(self.folder) / _FILE).read_text().replace(_HERE, self.folder)
        scorer: Scorer = build(json.loads(text))
        return scorer


def write_scorer(config: Mapping[str, Any], folder: Path) -> None:
    """Record how to build the scorer that lies in `folder`, wherever that moves."""
    text = json.dumps(dict(config)).replace(str(folder), _HERE)
    write_json(folder / _FILE, json.loads(text))
