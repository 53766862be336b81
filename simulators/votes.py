"""Annotators that ask another one several times and combine its verdicts.

Where verdicts come with strengths and ratings, their means go along; a mean strength that
contradicts the combined verdict, or one on a tie, is 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from farm.data.records import turn_judgment, turn_pair
from farm.errors import ConfigError
from farm.protocols import Annotator, ExactAnnotator
from farm.types import Judgment, Pair
from simulators.chat.types import total_cost, total_usage
from simulators.order import RandomOrder


class BothOrders:
    """Asks about each pair in both orders and takes the mean, so that a judge's liking for the
    first answer cancels. `votes` are the two preferences; `flip_rate` counts where they differ.
    Raises ConfigError around a `RandomOrder`."""

    stage_version: ClassVar[int] = 2

    def __init__(self, *, annotator: Annotator) -> None:
        if isinstance(annotator, RandomOrder):
            raise ConfigError(
                "annotator: inside BothOrders a RandomOrder shows both times the same order. Take "
                "it out, or put BothOrders in its place."
            )
        self._annotator = annotator
        if isinstance(annotator, ExactAnnotator):  # it averages over both orders already
            self.expectation = annotator.expectation

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The means; a pair has a verdict only where both orders have."""
        turned_pairs = [turn_pair(pair) for pair in pairs]
        straight = self._annotator.annotate(pairs, seed=seed, draw=draw)
        turned = self._annotator.annotate(turned_pairs, seed=seed, draw=draw)
        return [
            _merged([judgment, turn_judgment(other)], draw, needed=2)
            for judgment, other in zip(straight, turned, strict=True)
        ]


class Repeats:
    """Asks `k` times with fresh samples and takes the mean: a soft preference out of hard ones.
    `votes` are what was said; `rerun_variance` measures how they differ."""

    stage_version: ClassVar[int] = 2

    def __init__(self, *, annotator: Annotator, k: int) -> None:
        self._annotator = annotator
        self._k = _positive(k)
        if isinstance(annotator, ExactAnnotator):
            self.expectation = annotator.expectation

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The means over the verdicts there are."""
        rounds = _draws(self._annotator, pairs, seed, draw, self._k)
        return [_merged(votes, draw) for votes in rounds]


class Majority:
    """Asks `k` times with fresh samples; what most say is the verdict, and a draw is a tie."""

    stage_version: ClassVar[int] = 2

    def __init__(self, *, annotator: Annotator, k: int) -> None:
        self._annotator = annotator
        self._k = _positive(k)

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Verdicts 0, 0.5 or 1."""
        rounds = _draws(self._annotator, pairs, seed, draw, self._k)
        return [_merged(votes, draw, verdict=_winner) for votes in rounds]


def flip_rate(judgments: Sequence[Judgment]) -> float:
    """Share of `BothOrders`' judgments whose two verdicts name different winners; NaN where there
    are none."""
    votes = [j.votes for j in judgments if j.votes is not None and len(j.votes) == 2]
    flips = [(first - 0.5) * (second - 0.5) < 0 for first, second in votes]
    return float(np.mean(flips)) if flips else float("nan")


def rerun_variance(judgments: Sequence[Judgment]) -> float:
    """Mean over pairs of the unbiased variance of repeated verdicts; NaN where none is repeated."""
    variances = [np.var(j.votes, ddof=1) for j in judgments if j.votes and len(j.votes) > 1]
    return float(np.mean(variances)) if variances else float("nan")


def _positive(k: int) -> int:
    if k < 1:
        raise ConfigError(f"k={k}: ask at least once.")
    return k


def _mean(votes: Sequence[float]) -> float:
    return float(np.mean(votes))


def _winner(votes: Sequence[float]) -> float:
    margin = sum((vote > 0.5) - (vote < 0.5) for vote in votes)
    return float(1 + np.sign(margin)) / 2


def _draws(
    annotator: Annotator, pairs: Sequence[Pair], seed: int, draw: int, k: int
) -> list[tuple[Judgment, ...]]:
    """For each pair, its k judgments; those of different draws share no sample."""
    rounds = [annotator.annotate(pairs, seed=seed, draw=draw * k + n) for n in range(k)]
    return list(zip(*rounds, strict=True))


def _merged(
    judgments: Sequence[Judgment],
    draw: int,
    *,
    needed: int = 1,
    verdict: Callable[[Sequence[float]], float] = _mean,
) -> Judgment:
    """One judgment out of several on one pair, with what all of them took; a verdict where at
    least `needed` of them have one."""
    said = [j for j in judgments if j.preference is not None]
    votes = tuple(j.preference for j in said if j.preference is not None)
    first = (said or judgments)[0]
    preference = verdict(votes) if len(votes) >= needed else None
    failed = next((j.error for j in judgments if j.preference is None), None)
    latencies = [j.latency_s for j in judgments if j.latency_s is not None]
    return replace(
        first,
        preference=preference,
        draw=draw,
        strength=None if preference is None else _strength(said, preference),
        attributes=None if preference is None else _attributes(said),
        votes=votes or None,
        raw="\n\n".join(j.raw for j in judgments if j.raw is not None) or None,
        usage=total_usage([j.usage for j in judgments]),
        cost_usd=total_cost([j.cost_usd for j in judgments]),
        cached=all(j.cached for j in judgments),
        latency_s=sum(latencies) if latencies else None,
        error=None if preference is not None else failed,
    )


def _strength(said: Sequence[Judgment], preference: float) -> float | None:
    strengths = [j.strength for j in said if j.strength is not None]
    if not strengths:
        return None
    mean = float(np.mean(strengths))
    return mean if mean * (preference - 0.5) > 0 else 0.0


def _attributes(said: Sequence[Judgment]) -> Mapping[str, tuple[float, float]] | None:
    """The mean ratings by what all that rated have rated."""
    rated = [j.attributes for j in said if j.attributes is not None]
    if not rated:
        return None
    common = [name for name in rated[0] if all(name in ratings for ratings in rated)]
    means = {name: np.mean([ratings[name] for ratings in rated], axis=0) for name in common}
    return {name: (float(a), float(b)) for name, (a, b) in means.items()}
