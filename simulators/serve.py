"""`python -m simulators.serve`: annotators as models of an OpenAI-compatible endpoint."""

import sys

from omegaconf import DictConfig

from farm.config import Command, cli, plain
from simulators.serving.settings import ServeConfiguration

SERVE = Command("serve", ServeConfiguration)


def main() -> int:
    """Check the command line, then serve until interrupted; returns the exit status."""
    return cli(task, command=SERVE)


def task(config: DictConfig) -> int:
    """Serve one checked configuration."""
    from simulators.serving.app import make_app
    from simulators.serving.background import serve

    serve(make_app(plain(config)), config.host, config.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
