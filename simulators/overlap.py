"""A stand-in annotator for data without judges: who wrote more like the demonstration."""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from farm.data.records import is_canonical, tie
from farm.errors import ConfigError
from farm.pool import in_pieces
from farm.protocols import FloatArray
from farm.seeds import redraw, uniform
from farm.types import Judgment, Pair

_ORDER = 6
_BETA = 2.0


def chrf(text: str, reference: str, order: int = _ORDER, beta: float = _BETA) -> float:
    """chrF in [0, 1] (Popović 2015): F-score, recall weighted beta times, of character n-grams
    without spaces, precision and recall averaged over n = 1..order."""
    characters, wanted = (_without_spaces(t) for t in (text, reference))
    precisions, recalls = [], []
    for n in range(1, order + 1):
        ours, theirs = _ngrams(characters, n), _ngrams(wanted, n)
        if not ours and not theirs:
            continue
        common = sum((ours & theirs).values())
        precisions.append(common / max(sum(ours.values()), 1))
        recalls.append(common / max(sum(theirs.values()), 1))
    precision, recall = (float(np.mean(v)) if v else 0.0 for v in (precisions, recalls))
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def _ngrams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


class DemonstrationOverlap:
    """Prefers b with probability sigmoid((chrF(b) - chrF(a)) / temperature), overlap taken with the
    instruction's demonstration; no verdict where there is none. Raises ConfigError for a
    temperature that is not positive."""

    stage_version: ClassVar[int] = 1

    def __init__(self, *, temperature: float = 0.05) -> None:
        if temperature <= 0:
            raise ConfigError(f"temperature={temperature}: must be above 0.")
        self._temperature = temperature

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """Seeded verdicts 0 or 1."""
        expected = self.expectation(pairs)
        seed = redraw(seed, draw)
        return [self._verdict(*row, seed) for row in zip(pairs, expected.tolist(), strict=True)]

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        """P(output_b is better); NaN without a demonstration."""
        return np.array(in_pieces(self._probabilities, pairs))

    def _probabilities(self, pairs: Sequence[Pair]) -> list[float]:
        return [self._probability(pair) for pair in pairs]

    def _probability(self, pair: Pair) -> float:
        reference = pair.instruction.demonstration
        if reference is None:
            return float("nan")
        gain = chrf(pair.output_b, reference) - chrf(pair.output_a, reference)
        return float(1 / (1 + np.exp(-gain / self._temperature)))

    def _verdict(self, pair: Pair, b_is_better: float, seed: int) -> Judgment:
        if pair.instruction.demonstration is None:
            reason = "the instruction has no demonstration to compare with"
            return Judgment(pair.id, None, "demonstration_overlap", "ab", error=reason)
        if pair.output_a == pair.output_b:
            return tie(pair, "demonstration_overlap")
        drawn = uniform(seed, "overlap", pair.id)
        b_wins = drawn < b_is_better if is_canonical(pair) else drawn >= 1 - b_is_better
        return Judgment(pair.id, float(b_wins), "demonstration_overlap", "ab")
