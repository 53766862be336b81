"""The state that an interrupted learner continues from: one file, whole or absent."""

import os
from pathlib import Path
from typing import Any

import torch


def state_path(work: Path) -> Path:
    """Where a learner keeps its state; the folder goes when the learner is done."""
    return work / "resume" / "state.pt"


def save_state(state: dict[str, Any], work: Path) -> None:
    """Replace the saved state; a kill leaves the old one or the new one."""
    path = state_path(work)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_state(work: Path) -> dict[str, Any] | None:
    """The saved state, None when there is none. Tensors and plain values only."""
    path = state_path(work)
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
