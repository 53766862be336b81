"""`python -m farm.run`: one run from configuration to report."""

import sys

from omegaconf import DictConfig, OmegaConf

from farm.config import cli, plain


def main() -> int:
    """Check the command line, then run the main job; returns the exit status."""
    return cli(task)


def task(config: DictConfig) -> int:
    """Run one checked configuration."""
    from farm.main_job import run

    return run(plain(config), OmegaConf.to_yaml(config, resolve=True))


if __name__ == "__main__":
    sys.exit(main())
