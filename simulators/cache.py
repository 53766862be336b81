"""`python -m simulators.cache`: look into recorded answers, export them, prune them."""

import argparse
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from farm.errors import ConfigError, DataError, FarmError
from simulators.annotation_rows import read_judged, write_annotations
from simulators.chat.replies import ReplyFile

_DAY_S = 86400.0


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        arguments.action(arguments)
        sys.stdout.flush()
    except FarmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators.cache", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    inspect = actions.add_parser("inspect", help="what is recorded, by model")
    inspect.set_defaults(action=_inspect)
    export = actions.add_parser("export", help="all recorded answers as jsonl, to stdout")
    export.set_defaults(action=_export)
    prune = actions.add_parser("prune", help="delete answers of a model, or old ones")
    prune.add_argument("--model", help="the requested model's name")
    prune.add_argument("--older-than-days", type=float, help="recorded so many days ago or more")
    prune.set_defaults(action=_prune)
    for action in (inspect, export, prune):
        action.add_argument("file", type=Path, help="the cache, such as runs/replies.sqlite")

    rows = actions.add_parser(
        "to-alpaca-eval", help="recorded judgments (jsonl) as AlpacaEval's annotations.json"
    )
    rows.add_argument("file", type=Path, help="what simulators.recorder.Recorder wrote")
    rows.add_argument("out", type=Path, help="the json file to write")
    rows.set_defaults(action=_to_alpaca_eval)
    return parser


def _open(path: Path) -> ReplyFile:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file. A judge's `Cached` node names its path.")
    return ReplyFile(path)


def _inspect(arguments: argparse.Namespace) -> None:
    table = Table("Model", "Answers", "Cost $", "Unpriced", "Oldest", "Newest")
    for row in _open(arguments.file).summary():
        cost = "-" if row.cost_usd is None else f"{row.cost_usd:.4f}"
        days = (f"{datetime.fromtimestamp(t):%Y-%m-%d %H:%M}" for t in (row.oldest, row.newest))
        table.add_row(row.requested_model, f"{row.replies:,}", cost, f"{row.unpriced:,}", *days)
    Console().print(table)


def _export(arguments: argparse.Namespace) -> None:
    for row in _open(arguments.file).rows():
        print(json.dumps(row, ensure_ascii=False))


def _prune(arguments: argparse.Namespace) -> None:
    days = arguments.older_than_days
    if arguments.model is None and days is None:
        raise ConfigError("prune: say which answers: --model NAME, --older-than-days N, or both.")
    before = None if days is None else time.time() - days * _DAY_S
    deleted = _open(arguments.file).prune(model=arguments.model, before=before)
    print(f"{deleted} answers deleted")


def _to_alpaca_eval(arguments: argparse.Namespace) -> None:
    judged = list(read_judged(arguments.file))
    write_annotations(arguments.out, judged)
    print(f"{len(judged)} judgments written to {arguments.out}")


if __name__ == "__main__":
    sys.exit(main())
