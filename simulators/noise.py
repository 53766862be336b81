"""Label noise: the variability of one person with themselves, which a cold judge lacks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from farm.data.records import is_canonical, turn_judgment
from farm.errors import ConfigError
from farm.heartbeat import beat
from farm.protocols import Annotator, ExactAnnotator
from farm.seeds import redraw, uniform
from farm.types import Judgment, Pair


class LabelFlip:
    """With probability 2p a fair coin replaces the annotator's verdict, so that a hard label is
    flipped with probability p (AlpacaFarm; alpaca_eval's `p_label_flip`).

    The coin is tossed before the annotator is asked, so replaced verdicts cost nothing, and it
    replaces ties and soft preferences like any other: a preference q has expectation
    (1 - 2p) q + p. A coin states no strength and rates nothing: for labels that have both,
    `DifficultyFlip` turns the whole label. Where a pair that is asked about gets no verdict, it
    stays without. Identical texts are always asked about. Raises ConfigError unless 0 <= p <= 0.5.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotator: Annotator, p: float) -> None:
        if not 0 <= p <= 0.5:
            raise ConfigError(f"p={p}: a flip probability is between 0 and 0.5.")
        self._annotator = annotator
        self._p = p

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The annotator's verdicts and the coin's."""
        coins = redraw(seed, draw)
        judgments: dict[int, Judgment] = {}
        asked = []
        for index, pair in enumerate(pairs):
            noised = uniform(coins, "noise", pair.id) < 2 * self._p
            if noised and pair.output_a != pair.output_b:
                judgments[index] = _coin(pair, coins, draw)
            else:
                asked.append(index)
        beat(len(judgments), {})
        verdicts = self._annotator.annotate([pairs[i] for i in asked], seed=seed, draw=draw)
        judgments.update(zip(asked, verdicts, strict=True))
        return [judgments[index] for index in range(len(pairs))]


def _coin(pair: Pair, seed: int, draw: int) -> Judgment:
    second_of_canonical = uniform(seed, "coin", pair.id) < 0.5
    b_wins = second_of_canonical == is_canonical(pair)
    return replace(Judgment(pair.id, float(b_wins), "noise", "ab", draw), noised=True)


class ShuffledLabels:
    """A control: verdicts that carry no preference. A fair coin takes the place of every verdict
    on two different texts; whatever learns from these labels learns nothing."""

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotator: Annotator) -> None:
        self._flip = LabelFlip(annotator=annotator, p=0.5)

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """A coin for every pair."""
        return self._flip.annotate(pairs, seed=seed, draw=draw)


class FlipToAgreement(LabelFlip):
    """`LabelFlip` with the p that turns a measured agreement a with some labels into a target:
    since a becomes (1 - 2p) a + p, p = (a - target) / (2a - 1).

    `agreement` and `target` are shares of pairs. Raises ConfigError unless 0.5 <= target <=
    agreement <= 1: flips only ever lower an agreement, and not below a half.
    """

    def __init__(self, *, annotator: Annotator, agreement: float, target: float) -> None:
        if not 0.5 <= target <= agreement <= 1 or agreement == 0.5:
            raise ConfigError(
                f"agreement={agreement}, target={target}: flips lower an agreement above 0.5 to a "
                "target between 0.5 and it."
            )
        super().__init__(annotator=annotator, p=(agreement - target) / (2 * agreement - 1))


class DifficultyFlip:
    """Turns a verdict round with a probability that grows with the pair's difficulty:
    p = p_hard + (p_easy - p_hard) |2q - 1|, q the annotator's exact expectation where it is a
    program and the verdict's own soft preference where it is not (so hard verdicts are all easy).

    The annotator is asked about every pair. A turned preference q becomes 1 - q, and with it
    strength, ratings and votes are the other way round: ties stay ties, no verdict stays none,
    what is soft stays as soft and what is strong as strong. With p_easy = p_hard every pair is as
    likely to be turned. Raises ConfigError unless 0 <= p_easy <= p_hard <= 0.5.
    """

    stage_version: ClassVar[int] = 1

    def __init__(self, *, annotator: Annotator, p_easy: float, p_hard: float) -> None:
        if not 0 <= p_easy <= p_hard <= 0.5:
            raise ConfigError(f"p_easy={p_easy}, p_hard={p_hard}: 0 <= p_easy <= p_hard <= 0.5.")
        self._annotator = annotator
        self._p_easy = p_easy
        self._p_hard = p_hard

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The annotator's verdicts, some of them turned and marked `noised`."""
        judgments = self._annotator.annotate(pairs, seed=seed, draw=draw)
        coins = redraw(seed, draw)
        return [
            _turned(judgment) if uniform(coins, "difficulty", judgment.pair_id) < p else judgment
            for judgment, p in zip(judgments, self._probabilities(pairs, judgments), strict=True)
        ]

    def _probabilities(self, pairs: Sequence[Pair], judgments: Sequence[Judgment]) -> list[float]:
        if isinstance(self._annotator, ExactAnnotator):
            expected = self._annotator.expectation(pairs).tolist()
        else:
            expected = [0.5 if j.preference is None else j.preference for j in judgments]
        spread = self._p_easy - self._p_hard
        return [self._p_hard + spread * abs(2 * q - 1) for q in expected]


def _turned(judgment: Judgment) -> Judgment:
    turned = turn_judgment(judgment)
    return replace(turned, order=judgment.order, noised=judgment.preference is not None)
