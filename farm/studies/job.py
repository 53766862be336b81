"""A study, from its configuration to its report."""

from collections.abc import Mapping
from typing import Any

from farm.config import build
from farm.preflight import check_packages
from farm.studies.runs import Runs
from farm.studies.settings import Study
from farm.studies.workshop import Workshop


def run(config: Mapping[str, Any], runs: Runs) -> int:
    """Run one study (its configuration resolved and checked); returns the exit status."""
    check_packages(config)
    study: Study = build(config["study"])
    study.run(Workshop(config, runs))
    return 0
