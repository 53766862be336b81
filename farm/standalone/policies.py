"""Policies that answer: a directory that transformers loads, an artefact of a run, a hub name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.artifacts import MANIFEST, Artifact
from farm.config import build
from farm.errors import ConfigError
from farm.generation.sampler import policy_name
from farm.stages.pointers import policy_path
from farm.standalone.settings import EvaluateSettings


@dataclass(frozen=True)
class Policy:
    """One that answers what it is asked."""

    name: str
    path: str
    """A directory, absolute because workers may have another working directory; or a hub name."""

    @property
    def artifact(self) -> Artifact | None:
        """The artefact that the directory is; None for any other directory."""
        folder = Path(self.path)
        manifest = folder / MANIFEST
        if not manifest.is_file():
            return None
        found = json.loads(manifest.read_text())
        return Artifact(found["stage"], found["key"], folder)


def find_policy(path: str, settings: EvaluateSettings) -> Policy:
    """The policy that `path` names. Raises ConfigError where it is neither directory nor hub name,
    holds no weights, or cannot read and write as much as `model` says."""
    policy, folder = Policy(path, path), Path(path).resolve()
    if folder.is_dir():
        policy = Policy(policy_name(str(folder)), str(folder))
        _check_positions(Path(policy_path(folder)), settings)
    if policy.artifact is None:
        build(pretrained_node(policy, settings))
    elif not any(Path(policy_path(folder)).glob("*.safetensors")):
        raise ConfigError(
            f"{path} is an artefact of the stage {policy.artifact.stage} and holds no policy. "
            "Right would be one of the stages model, policy or checkpoint."
        )
    return policy


def pretrained_node(policy: Policy, settings: EvaluateSettings) -> dict[str, Any]:
    """The config node of a policy that is no artefact."""
    return {
        "_target_": "farm.models.pretrained.Pretrained",
        "path": policy.path,
        "max_prompt_tokens": settings.model.max_prompt_tokens,
        "max_new_tokens": settings.decoding.max_new_tokens,
    }


def _check_positions(folder: Path, settings: EvaluateSettings) -> None:
    """What transformers would say of a directory only after seconds of imports."""
    file = folder / "config.json"
    config = json.loads(file.read_text()) if file.is_file() else {}
    positions = config.get("max_position_embeddings")
    prompt, new = settings.model.max_prompt_tokens, settings.decoding.max_new_tokens
    if positions is not None and prompt + new > positions:
        raise ConfigError(
            f"model.max_prompt_tokens={prompt} and model.max_new_tokens={new}: {folder} has only "
            f"{positions} positions for both together. Give less of one or of both."
        )
