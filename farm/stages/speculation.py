"""Stages of speculative sampling: a head that is given, and what rules take, measured."""

import shutil
from pathlib import Path
from typing import Any

from farm.errors import ConfigError
from farm.generation.stop_rules import HEAD
from farm.stages.job import Job

STAGE_VERSION = 1  # see farm.builder.Step


def given_head(job: Job) -> dict[str, Any]:
    """Stage `head`: a copy of the acceptance head in a directory."""
    from farm.models.acceptance import load_head

    path = Path(job.config["path"])
    try:
        load_head(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(
            f"decoding.head={path}: no acceptance head can be read there ({error}). Right would be "
            f"the folder `{HEAD}` of what method=acceptance_head made, in runs/store/policy/KEY."
        ) from error
    shutil.copytree(path, job.work / HEAD, dirs_exist_ok=True)
    return {}
