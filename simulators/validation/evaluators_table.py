"""AlpacaEval's evaluators table for one annotator, with intervals.

Columns: `name`, `n_pairs`, `n_labels` (labels of a pair at most), `n_parsed` and `n_asked`
(verdicts), and those of `MEASURES`, each with `_low` and `_high`, its 95 % interval over
instructions; null where it does not apply.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from farm.errors import DataError
from farm.evaluation import agreement
from farm.evaluation.agreement import BoolArray, Samples, Tally
from farm.evaluation.intervals import NOTHING, Interval
from farm.evaluation.text_features import confidence, is_list
from farm.protocols import Annotator, FloatArray
from farm.types import Judgment, Pair
from simulators.validation.labels import Labels
from simulators.validation.settings import ValidateSettings

LABELS = "labels"
"""The table's row of the labels themselves."""

MEASURES: Mapping[str, str] = {
    "agreement": "Agreement with the labels (%)",
    "price": "Price ($/1000)",
    "time": "Time (s/1000)",
    "spearman": "Spearman correlation of systems",
    "pearson": "Pearson correlation of systems",
    "bias": "Bias (%)",
    "variance": "Variance (%)",
    "prefer_longer": "P(prefer longer) (%)",
    "prefer_lists": "P(prefer lists) (%)",
    "prefer_first": "P(prefer first) (%)",
    "prefer_confident": "P(prefer confident) (%)",
}


class Draws(NamedTuple):
    """An annotator's repeated verdicts; [N, D] each."""

    preferences: FloatArray
    """P(output_b is better), NaN for none."""
    b_first: BoolArray
    """Whether the judge saw output_b first."""
    cost_usd: FloatArray
    """NaN where a price is not known."""
    seconds: FloatArray
    """How long the judge took."""


def evaluators_table(
    annotator: Annotator, labels: Labels, settings: ValidateSettings
) -> pd.DataFrame:
    """A row for the annotator and one for the labels, whose agreement is that of one labeller
    with the others. Raises DataError where the annotator gives no verdict at all."""
    draws = draw_verdicts(annotator, labels.pairs, settings)
    votes = labels.preferences_N_K
    samples = agreement.resampled(
        [pair.instruction.id for pair in labels.pairs],
        replicates=settings.bootstrap,
        seed=settings.seed,
    )
    sides = _sides(labels.pairs, settings.longer_by)
    ours = {
        **_quality(draws, labels, samples),
        **_tastes(draws.preferences, sides, samples),
        "prefer_first": _percent(
            agreement.prefers_first(draws.preferences, draws.b_first), samples
        ),
    }
    among = _percent(agreement.leave_one_out(votes), samples)
    theirs = {
        "agreement": among,
        "variance": _error(among),
        **_tastes(votes, sides, samples),
    }
    return pd.DataFrame(
        [
            _row(settings.name, labels, draws.preferences, ours),
            _row(LABELS, labels, votes, theirs),
        ]
    )


def draw_verdicts(annotator: Annotator, pairs: Sequence[Pair], settings: ValidateSettings) -> Draws:
    """Ask `repeats` times about every pair. Raises DataError where no verdict comes."""
    judgments, walls = [], []
    for draw in range(settings.repeats):
        start = time.perf_counter()
        judgments.append(annotator.annotate(pairs, seed=settings.seed, draw=draw))
        walls.append((time.perf_counter() - start) / len(pairs))
    draws = Draws(
        _matrix([[judgment.preference for judgment in draw] for draw in judgments]),
        np.array([[judgment.order == "ba" for judgment in draw] for draw in judgments]).T,
        _matrix([[judgment.cost_usd for judgment in draw] for draw in judgments]),
        _seconds(judgments, walls),
    )
    if np.isnan(draws.preferences).all():
        raise DataError(
            f"annotators: {settings.name} gives no verdict on any of the {len(pairs)} pairs: "
            f"{judgments[0][0].error or 'it names no reason'}."
        )
    return draws


def _matrix(values_D_N: Sequence[Sequence[float | None]]) -> FloatArray:
    return np.array(values_D_N, dtype=np.float64).T


def _seconds(judgments_D_N: Sequence[Sequence[Judgment]], walls_D: Sequence[float]) -> FloatArray:
    """How long the requests took; for a program, which makes none, its working time."""
    seconds = _matrix([[judgment.latency_s for judgment in draw] for draw in judgments_D_N])
    if np.isnan(seconds).all():
        return np.broadcast_to(np.array(walls_D), seconds.shape)
    return np.nan_to_num(seconds)  # a coin's verdict takes no time


def _quality(draws: Draws, labels: Labels, samples: Samples) -> dict[str, Interval]:
    votes = labels.preferences_N_K
    correlations = agreement.system_correlations(
        draws.preferences, votes, _numbered(labels.systems), samples
    )
    repeated = draws.preferences.shape[1] > 1  # as AlpacaEval has it, no bias of a single draw
    of_mode = _percent(agreement.mode_agreement(draws.preferences, votes), samples)
    of_others = _percent(agreement.leave_one_out(draws.preferences), samples)
    return {
        "agreement": _percent(agreement.agreement(draws.preferences, votes), samples),
        "price": _times(1000, agreement.mean_interval(agreement.mean(draws.cost_usd), samples)),
        "time": _times(1000, agreement.mean_interval(agreement.mean(draws.seconds), samples)),
        **correlations._asdict(),
        "bias": _error(of_mode) if repeated else NOTHING,
        "variance": _error(of_others),
    }


def _numbered(systems: Sequence[str | None]) -> NDArray[np.int64]:
    """Each system's number; none where any pair names no system."""
    if None in systems:
        return np.array([], dtype=np.int64)
    return np.unique(np.array(systems), return_inverse=True)[1]


def _sides(pairs: Sequence[Pair], longer_by: int) -> dict[str, FloatArray]:
    """Which answer of each pair is the longer one, has a list, and sounds confident."""

    def sides(feature: Callable[[str], float], beyond: float = 0) -> FloatArray:
        a = np.array([feature(pair.output_a) for pair in pairs])
        b = np.array([feature(pair.output_b) for pair in pairs])
        return agreement.side(a, b, beyond=beyond)

    return {
        "prefer_longer": sides(len, longer_by),
        "prefer_lists": sides(is_list),
        "prefer_confident": sides(confidence),
    }


def _tastes(
    votes: FloatArray, sides: Mapping[str, FloatArray], samples: Samples
) -> dict[str, Interval]:
    return {
        name: _percent(agreement.prefers(votes, side_N), samples) for name, side_N in sides.items()
    }


def _percent(tally: Tally, samples: Samples) -> Interval:
    return _times(100, agreement.share_interval(tally, samples))


def _error(percent: Interval) -> Interval:
    return Interval(100 - percent.estimate, 100 - percent.high, 100 - percent.low)


def _times(factor: float, interval: Interval) -> Interval:
    return Interval(*(factor * end for end in interval))


def _row(
    name: str, labels: Labels, votes: FloatArray, measured: Mapping[str, Interval]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "n_pairs": len(labels.pairs),
        "n_labels": labels.preferences_N_K.shape[1],
        "n_parsed": int((~np.isnan(votes)).sum()),
        "n_asked": votes.size,
    }
    for measure in MEASURES:
        interval = measured.get(measure, NOTHING)
        row |= dict(zip((measure, f"{measure}_low", f"{measure}_high"), interval, strict=True))
    return row
