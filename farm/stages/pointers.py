"""Which policy an artefact holds: `policy.json`, beside or instead of weights.

Paths inside the artefact are relative to it; a scorer's artefact is named relative too, so that a
store can move.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farm.artifacts import write_json
from farm.scorers.stored import StoredScorer
from farm.types import BestOf, Decoding, PolicyRef

_FILE = "policy.json"


def point_to_policy(
    folder: Path, path: str, best_of: BestOf | None = None, control: str | None = None
) -> None:
    """Record where the policy of an artefact lies, whether it chooses among several answers, and
    the token in front of its prompts. The scorer that chooses must be one of the store's."""
    inside = Path(path).is_relative_to(folder)
    pointer: dict[str, Any] = {"path": str(Path(path).relative_to(folder)) if inside else path}
    if best_of is not None:
        assert isinstance(best_of.scorer, StoredScorer), "a scorer in memory cannot be pointed to"
        pointer["best_of"] = {
            "n": best_of.n,
            "temperature": best_of.temperature,
            "scorer": os.path.relpath(best_of.scorer.folder, folder),
        }
    if control is not None:
        pointer["control"] = control
    write_json(folder / _FILE, pointer)


def policy_path(folder: Path) -> str:
    """The transformers directory or hub name that a model, policy or checkpoint artefact holds."""
    path = str(_pointer(folder).get("path", "."))
    return str(folder / path) if (folder / path).exists() else path


def policy_ref(folder: Path, decoding: Mapping[str, Any]) -> PolicyRef:
    """The policy of an artefact with the decoding of a config node, and its own besides."""
    pointer = _pointer(folder)
    chosen = pointer.get("best_of")
    best_of = None
    if chosen is not None:
        scorer = StoredScorer(str((folder / chosen["scorer"]).resolve()))
        best_of = BestOf(chosen["n"], chosen["temperature"], scorer)
    control = pointer.get("control")
    return PolicyRef(policy_path(folder), Decoding(**decoding, control=control), best_of)


def _pointer(folder: Path) -> dict[str, Any]:
    file = folder / _FILE
    pointer: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return pointer
