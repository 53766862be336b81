"""`python -m simulators.validate`: how well an annotator agrees with labels, and what it likes."""

import sys
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from farm.config import Command, build, cli, plain
from simulators.validation.settings import ValidateConfiguration, ValidateSettings

VALIDATE = Command("validate", ValidateConfiguration)


def main() -> int:
    """Check the command line, then validate; returns the exit status."""
    return cli(task, command=VALIDATE)


def task(config: DictConfig) -> int:
    """Validate as one checked configuration says, or say what it would take."""
    values = plain(config)
    settings = ValidateSettings.from_plain(values)
    node = values["annotators"][settings.node]
    if settings.dry_run:
        _say_what_it_takes(node, settings)
    else:
        _validate(node, settings)
    return 0


def _say_what_it_takes(node: Mapping[str, Any], settings: ValidateSettings) -> None:
    from farm.console import Console
    from simulators.validation.asking import estimate
    from simulators.validation.labels import load_labels

    found = estimate(node, load_labels(settings).pairs, settings)
    free = f"  {settings.name}: asks nobody who is paid"
    Console().message(free if found is None else str(found))


def _validate(node: Mapping[str, Any], settings: ValidateSettings) -> None:
    from farm.console import Console
    from farm.preflight import check_keys, check_packages
    from simulators.validation.asking import heard
    from simulators.validation.evaluators_table import evaluators_table
    from simulators.validation.figure import print_table, write_files
    from simulators.validation.labels import load_labels

    asked: dict[str, Any] = {"annotators": {settings.node: node}, "evaluators": {}}
    check_packages(asked)
    check_keys(asked)
    labels = load_labels(settings)
    with heard(build(node), labels.pairs, settings, Console()) as annotator:
        table = evaluators_table(annotator, labels, settings)
    print_table(table)
    for path in write_files(table, settings):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
