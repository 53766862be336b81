"""`python -m simulators.validate`: how well an annotator agrees with labels, and what it likes."""

import sys

from omegaconf import DictConfig

from farm.config import Command, build, cli, plain
from simulators.validation.settings import ValidateConfiguration, ValidateSettings

VALIDATE = Command("validate", ValidateConfiguration)


def main() -> int:
    """Check the command line, then validate; returns the exit status."""
    return cli(task, command=VALIDATE)


def task(config: DictConfig) -> int:
    """Validate as one checked configuration says."""
    from simulators.validation.evaluators_table import evaluators_table
    from simulators.validation.figure import print_table, write_files
    from simulators.validation.labels import load_labels

    settings = ValidateSettings.from_plain(plain(config))
    labels = load_labels(settings)
    table = evaluators_table(build(config.annotators[settings.node]), labels, settings)
    print_table(table)
    for path in write_files(table, settings):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
