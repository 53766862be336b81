"""`python -m farm.study`: methods x annotators x evaluators x seeds, and what the rankings say."""

import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from farm.config import Command, cli, plain
from farm.studies.settings import StudyConfiguration

STUDY = Command("study", StudyConfiguration)


def main() -> int:
    """Check the command line, then run the study; returns the exit status."""
    return cli(task, command=STUDY)


def task(config: DictConfig) -> int:
    """Run one checked study."""
    from farm.studies.job import run
    from farm.studies.runs import Runs

    return run(plain(config), Runs(HydraConfig.get(), STUDY))


if __name__ == "__main__":
    sys.exit(main())
