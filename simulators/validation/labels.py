"""Labels that annotators are held against: gold's, a file's or AlpacaFarm's humans'."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from farm.data.files import read_table
from farm.data.records import make_pair, turn_pair
from farm.data.rows import RowError
from farm.errors import ConfigError, DataError
from farm.hub import HubRepository
from farm.protocols import FloatArray
from farm.seeds import uniform
from farm.types import Pair
from simulators.annotation_rows import judged_of
from simulators.recorder import read_line
from simulators.validation.settings import ValidateSettings

EVERYBODY = "all"

_SYSTEM_KEYS = ("generator_2", "generator", "model")
_CYCLE = 45
"""After so many barnyard instructions family and difficulty come round again."""

_HUB = HubRepository(
    "tatsu-lab/alpaca_eval",
    "dataset",
    None,
    instead="Offline, give labels=FILE, a local copy of alpaca_farm_human_crossannotations.json.",
)
_HUB_FILE = "alpaca_farm_human_crossannotations.json"


@dataclass(frozen=True)
class Labels:
    """Pairs with what was said of them."""

    pairs: Sequence[Pair]
    preferences_N_K: FloatArray
    """P(output_b is better), one column per labeller; NaN where there is none."""
    systems: Sequence[str | None]
    """Who wrote each output_b."""


class _Label(NamedTuple):
    pair: Pair
    preference: float | None
    judge: str
    system: str | None


def load_labels(settings: ValidateSettings) -> Labels:
    """What `labels` names. Raises DataError, and ConfigError for a judge that is not there."""
    if settings.labels == "gold":
        return gold_labels(settings.pairs, seed=settings.seed)
    if settings.labels == "hub":
        return file_labels(_HUB.download([_HUB_FILE]) / _HUB_FILE, settings.judge)
    return file_labels(Path(settings.labels), settings.judge)


def gold_labels(count: int, *, seed: int) -> Labels:
    """Barnyard demonstrations against the demonstration of another instruction of the same family
    and difficulty, in random order; labelled by which has the higher true utility."""
    from farm.data.barnyard.gold import BarnyardGold
    from farm.data.barnyard.source import Barnyard

    world = Barnyard(
        sft=count + _CYCLE, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0
    )
    rows = world.load()["sft"]
    texts = [row.demonstration or "" for row in rows]
    straight = [make_pair(*row) for row in zip(rows[_CYCLE:], texts[_CYCLE:], texts, strict=False)]
    pairs = [turn_pair(p) if uniform(seed, "gold pair", p.id) < 0.5 else p for p in straight]
    instructions = [pair.instruction for pair in pairs]
    a, b = (
        BarnyardGold().score(instructions, outputs)
        for outputs in ([p.output_a for p in pairs], [p.output_b for p in pairs])
    )
    preferences = (np.sign(b - a) + 1) / 2
    return Labels(pairs, preferences[:, None], [None] * len(pairs))


def file_labels(path: Path, judge: str | None) -> Labels:
    """AlpacaEval's annotation rows or a recorder's lines.

    Labels of one pair, and of one author of output_b where that is known, stand in one row, in
    the file's order. Raises DataError naming file and row, and ConfigError where the file holds
    several judges and none is chosen.
    """
    labels = list(_read(path))
    chosen = _chosen(labels, judge, path)
    items: dict[tuple[str, str | None], list[_Label]] = {}
    for label in chosen:
        items.setdefault((label.pair.id, label.system), []).append(label)
    preferences = np.full((len(items), max(map(len, items.values()))), np.nan)
    for row, same in enumerate(items.values()):
        preferences[row, : len(same)] = [_as_in(same[0].pair, label) for label in same]
    return Labels(
        [same[0].pair for same in items.values()], preferences, [system for _, system in items]
    )


def _read(path: Path) -> Iterator[_Label]:
    for place, row in read_table(path):
        try:
            yield _label(row)
        except (RowError, KeyError, TypeError, ValueError) as error:
            missing = "there is no " if isinstance(error, KeyError) else ""
            raise DataError(
                f"{place}: {missing}{error}. Right would be `instruction`, `output_1`, `output_2` "
                "and `preference` from 1 to 2, or a line of simulators.recorder.Recorder."
            ) from error


def _label(row: Any) -> _Label:
    if isinstance(row, RowError):
        raise row
    recorded = isinstance(row, dict) and "judgment" in row
    pair, judgment = read_line(row) if recorded else judged_of(row)
    system = next((str(row[key]) for key in _SYSTEM_KEYS if row.get(key)), None)
    return _Label(pair, judgment.preference, judgment.annotator, system)


def _chosen(labels: Sequence[_Label], judge: str | None, path: Path) -> Sequence[_Label]:
    """The labels of one judge, or of everybody where that is asked for."""
    judges = list(dict.fromkeys(label.judge for label in labels))
    if not judges:
        raise DataError(f"{path} holds no row; right would be one label a row.")
    if judge == EVERYBODY or (judge is None and len(judges) == 1):
        return labels
    if judge not in judges:
        wrong = "several judges" if judge is None else f"no judge {judge!r}"
        raise ConfigError(
            f"judge: {path} holds {wrong}; choose judge=NAME, or judge={EVERYBODY} to take them as "
            f"one crowd. Judges: {', '.join(judges)}."
        )
    return [label for label in labels if label.judge == judge]


def _as_in(pair: Pair, label: _Label) -> float:
    """The preference in the pair's orientation."""
    if label.preference is None:
        return float("nan")
    return label.preference if label.pair.output_a == pair.output_a else 1 - label.preference
