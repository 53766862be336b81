"""`python -m farm.evaluate`: outputs or policies against a reference, as a leaderboard."""

import sys

from omegaconf import DictConfig

from farm.config import Command, cli, plain
from farm.standalone.settings import EvaluateConfiguration

EVALUATE = Command("evaluate", EvaluateConfiguration)


def main() -> int:
    """Check the command line, then evaluate; returns the exit status."""
    return cli(task, command=EVALUATE)


def task(config: DictConfig) -> int:
    """Evaluate as one checked configuration says."""
    from farm.standalone.job import evaluate

    return evaluate(plain(config))


if __name__ == "__main__":
    sys.exit(main())
