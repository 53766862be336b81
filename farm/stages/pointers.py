"""Which policy an artefact holds: `policy.json`, beside or instead of weights.

Paths inside the store are relative to the artefact, so that a store can move.
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
    lies, root = Path(path), _root(folder)
    inside = lies.is_relative_to(folder) or (lies.is_absolute() and lies.is_relative_to(root))
    pointer: dict[str, Any] = {"path": os.path.relpath(path, folder) if inside else path}
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
    return os.path.normpath(folder / path) if (folder / path).exists() else path


def pointed(folder: Path) -> list[Path]:
    """The artefacts without which this one cannot be used: where its policy lies, and what chooses
    among that one's answers."""
    pointer = _pointer(folder)
    scorer = pointer.get("best_of", {}).get("scorer", ".")
    paths = (Path(os.path.normpath(folder / path)) for path in (pointer.get("path", "."), scorer))
    root = _root(folder)
    inside = (path.relative_to(root) for path in paths if path.is_relative_to(root))
    artifacts = (root.joinpath(*path.parts[:2]) for path in inside)
    return [artifact for artifact in artifacts if artifact != folder]


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


def _root(folder: Path) -> Path:
    """Of the store that an artefact's folder, or its partial one, lies in."""
    return folder.parent.parent


def _pointer(folder: Path) -> dict[str, Any]:
    file = folder / _FILE
    pointer: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return pointer
