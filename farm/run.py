"""`python -m farm.run`: one run from configuration to report."""

import sys

from farm.config import cli


def main() -> int:
    """Check the command line, then run the main job; returns the exit status."""
    return cli(_task)


def _task(config: object) -> int:
    from omegaconf import OmegaConf

    from farm.main_job import run

    return run(OmegaConf.to_container(config, resolve=True), OmegaConf.to_yaml(config, resolve=True))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
