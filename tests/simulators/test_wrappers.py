"""Wrappers: what they do to verdicts, to ties, to soft labels and to bills."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from farm.data.records import is_canonical, make_instruction, make_pair, turn_pair, user_instruction
from farm.errors import ConfigError
from farm.evaluation.text_features import confidence, is_list
from farm.protocols import Annotator, ExactAnnotator, FloatArray
from farm.seeds import generator, redraw, uniform
from farm.types import Judgment, Message, Pair, Usage
from simulators.annotation_rows import write_annotations
from simulators.bias import LengthBias, ListBias, PositionBias, ToneBias
from simulators.noise import DifficultyFlip, FlipToAgreement, LabelFlip
from simulators.order import RandomOrder
from simulators.pool import Pool
from simulators.recorder import Recorded, Recorder, read_lines
from simulators.votes import BothOrders, Majority, Repeats, flip_rate, rerun_variance

Verdict = Callable[[Pair, int], float | None]


class Saying:
    """An annotator that says what a function of the pair and its seed says, for one cent."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        verdicts = [self._verdict(pair, redraw(seed, draw)) for pair in pairs]
        return [
            Judgment(
                pair.id, verdict, "saying", "ab", draw, raw=f"{verdict}",
                usage=Usage(1.0, 10, 1), cost_usd=0.01,
                error=None if verdict is not None else "mute",
            )
            for pair, verdict in zip(pairs, verdicts, strict=True)
        ]  # fmt: skip


class Coin(Saying):
    """A program: the text that sorts second wins with probability 0.7."""

    def __init__(self) -> None:
        super().__init__(
            lambda pair, seed: float((uniform(seed, "coin", pair.id) < 0.7) == is_canonical(pair))
        )

    def expectation(self, pairs: Sequence[Pair]) -> FloatArray:
        return np.array([0.7 if is_canonical(pair) else 0.3 for pair in pairs])


LIST, PROSE = "\n- corn\n- hay\n- oats", " corn, hay, and oats"
SURE, UNSURE = " certainly", " perhaps"


def _text(rng: np.random.Generator) -> str:
    """Lists, tone and length vary on their own: the rest of the text makes up for the others."""
    parts = [(LIST, PROSE)[rng.integers(2)], (SURE, UNSURE)[rng.integers(2)]]
    words = " ".join(["hen"] * int(rng.integers(5, 100)))
    return f"{rng.integers(10**6)} {words}{parts[1]}.{parts[0]}"


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    rng = generator(0, "wrappers")
    texts = [sorted([_text(rng), _text(rng)]) for _ in range(6000)]
    return [make_pair(user_instruction(f"task {n}"), a, b) for n, (a, b) in enumerate(texts)]


def preferences(annotator: Annotator, pairs: Sequence[Pair], **how: int) -> FloatArray:
    judgments = annotator.annotate(pairs, **{"seed": 0, **how})
    return np.array([np.nan if j.preference is None else j.preference for j in judgments])


# ------------------------------------------------------------------------------- bias, by knob


def _measured(annotator: Annotator, pairs: Sequence[Pair]) -> dict[str, float]:
    """P(prefer longer), P(prefer the list), P(prefer the surer), P(prefer first as shown)."""
    judgments = annotator.annotate(pairs, seed=0)
    chosen = np.array([float(j.preference or 0.0) for j in judgments])
    favoured = {
        "length": [np.sign(len(p.output_b) - len(p.output_a)) for p in pairs],
        "list": [float(is_list(p.output_b)) - float(is_list(p.output_a)) for p in pairs],
        "tone": [np.sign(confidence(p.output_b) - confidence(p.output_a)) for p in pairs],
        "position": [1.0 if j.order == "ba" else -1.0 for j in judgments],
    }
    rates = {}
    for name, signs in favoured.items():
        sign = np.array(signs)
        rates[name] = float(np.mean(chosen[sign != 0] == (sign[sign != 0] > 0)))
    return rates


KNOBS = {"length": LengthBias, "list": ListBias, "tone": ToneBias, "position": PositionBias}
NEUTRAL = Saying(lambda pair, seed: float(uniform(seed, pair.id) < 0.5))
"""Judges at random, so every rate is 50 % without a bias."""


@pytest.mark.parametrize("knob", KNOBS)
def test_each_knob_moves_its_own_bias_alone_and_monotonically(knob: str, pairs: list[Pair]) -> None:
    rates = [
        _measured(RandomOrder(annotator=KNOBS[knob](annotator=NEUTRAL, strength=s)), pairs)
        for s in (0.0, 0.3, 0.6, 0.9)
    ]
    own = [rate[knob] for rate in rates]
    assert own == sorted(own)
    assert own[-1] - own[0] > 0.15
    for other in KNOBS.keys() - {knob}:
        # 6000 pairs, half of which say something about a rate: standard error 0.9 points
        assert all(abs(rate[other] - 0.5) < 0.035 for rate in rates), (other, rates)


@pytest.mark.parametrize("knob", KNOBS)
def test_a_bias_over_a_program_has_its_exact_expectation(knob: str, pairs: list[Pair]) -> None:
    biased = KNOBS[knob](annotator=Coin(), strength=0.5)
    assert isinstance(biased, ExactAnnotator)
    ordered = RandomOrder(annotator=biased)
    drawn, expected = preferences(ordered, pairs), biased.expectation(pairs)
    assert abs(drawn.mean() - expected.mean()) < 4 * 0.5 / np.sqrt(len(pairs))
    turned = biased.expectation([turn_pair(pair) for pair in pairs])
    assert turned == pytest.approx(1 - expected)


def test_a_bias_asks_nobody_about_what_it_decides(pairs: list[Pair]) -> None:
    asked: list[str] = []

    def note(pair: Pair, seed: int) -> float:
        asked.append(pair.id)
        return 0.0

    judgments = ListBias(annotator=Saying(note), strength=1.0).annotate(pairs[:500], seed=0)
    decided = [j for j in judgments if j.noised]
    assert len(decided) + len(asked) == 500
    assert all(j.annotator == "list_bias" and j.cost_usd == 0.0 for j in decided)


# --------------------------------------------------------------------------------------- flips


@pytest.mark.parametrize("verdict", [0.0, 0.3, 0.5, 1.0])
def test_label_flip_makes_q_into_half_q_plus_a_quarter(verdict: float, pairs: list[Pair]) -> None:
    flipped = preferences(LabelFlip(annotator=Saying(lambda p, s: verdict), p=0.25), pairs)
    assert flipped.mean() == pytest.approx(0.5 * verdict + 0.25, abs=0.02)


def test_flip_to_agreement_reaches_its_target(pairs: list[Pair]) -> None:
    """An annotator that agrees with 80 % of labels `b` is brought down to 65 %."""
    annotator = Saying(lambda pair, seed: float(uniform(1, "human", pair.id) < 0.8))
    flipped = FlipToAgreement(annotator=annotator, agreement=0.8, target=0.65)
    assert preferences(flipped, pairs).mean() == pytest.approx(0.65, abs=0.02)
    with pytest.raises(ConfigError, match="flips lower an agreement"):
        FlipToAgreement(annotator=annotator, agreement=0.6, target=0.65)


@pytest.mark.parametrize(
    ("verdict", "share", "becomes"),
    [(0.5, 0.4, 0.5), (0.9, 0.4 - 0.8 * 0.3, 0.1), (1.0, 0.1, 0.0), (None, 0.0, None)],
)
def test_difficulty_flips_turn_close_calls_more_often(
    verdict: float | None, share: float, becomes: float | None, pairs: list[Pair]
) -> None:
    """Ties stay ties, soft labels stay as soft, no verdict stays none."""
    flip = DifficultyFlip(annotator=Saying(lambda p, s: verdict), p_easy=0.1, p_hard=0.4)
    judgments = flip.annotate(pairs, seed=0)
    noised = [j for j in judgments if j.noised]
    assert len(noised) / len(pairs) == pytest.approx(share, abs=0.025)
    assert all(j.preference == pytest.approx(becomes) for j in noised)
    assert {j.preference for j in judgments if not j.noised} == {verdict}


def test_difficulty_of_a_program_is_its_expectation(pairs: list[Pair]) -> None:
    flip = DifficultyFlip(annotator=Coin(), p_easy=0.0, p_hard=0.5)
    judgments = flip.annotate(pairs, seed=0)
    assert np.mean([j.noised for j in judgments]) == pytest.approx(0.5 - 0.5 * 0.4, abs=0.025)


# --------------------------------------------------------------------------------------- votes


def test_both_orders_cancel_a_position_bias_and_count_flips(pairs: list[Pair]) -> None:
    first_wins = BothOrders(annotator=Saying(lambda pair, seed: 0.0)).annotate(pairs[:10], seed=0)
    assert {j.preference for j in first_wins} == {0.5}
    assert flip_rate(first_wins) == 1.0
    later = Saying(lambda pair, seed: float(pair.output_b > pair.output_a))
    fair = BothOrders(annotator=later).annotate(pairs[:100], seed=0)
    assert flip_rate(fair) == 0.0
    assert all(j.usage and j.usage.requests == 2 and j.cost_usd == 0.02 for j in fair)
    half_mute = Saying(lambda pair, seed: 1.0 if pair.output_a < pair.output_b else None)
    (judgment,) = BothOrders(annotator=half_mute).annotate(pairs[:1], seed=0)
    assert (judgment.preference, judgment.error) == (None, "mute")


def test_both_orders_around_a_random_order_is_refused() -> None:
    with pytest.raises(ConfigError, match="both times the same order"):
        BothOrders(annotator=RandomOrder(annotator=Coin()))


def test_repeats_and_majorities_draw_fresh_samples(pairs: list[Pair]) -> None:
    some = pairs[:2000]
    repeated = Repeats(annotator=Coin(), k=4).annotate(some, seed=0)
    assert rerun_variance(repeated) == pytest.approx(0.7 * 0.3, abs=0.02)
    assert np.mean([j.preference or 0.0 for j in repeated]) == pytest.approx(0.7, abs=0.02)
    most = preferences(Majority(annotator=Coin(), k=3), some)
    assert most.mean() == pytest.approx(0.7**3 + 3 * 0.7**2 * 0.3, abs=0.03)
    assert set(preferences(Majority(annotator=Coin(), k=2), some)) == {0.0, 0.5, 1.0}


def test_draws_of_nested_repeats_do_not_overlap(pairs: list[Pair]) -> None:
    seen: list[int] = []

    class Draws(Coin):
        def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
            seen.append(draw)
            return super().annotate(pairs, seed=seed, draw=draw)

    Repeats(annotator=Majority(annotator=Draws(), k=3), k=2).annotate(pairs[:1], seed=0)
    assert seen == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda a: Pool(annotators=[a, a]),
        lambda a: RandomOrder(annotator=a),
        lambda a: LabelFlip(annotator=a, p=0.1),
        lambda a: LengthBias(annotator=a, strength=0.5),
        lambda a: Repeats(annotator=a, k=3),
    ],
)
def test_the_same_draw_says_the_same_and_another_does_not(
    wrap: Callable[[Annotator], Annotator], pairs: list[Pair]
) -> None:
    annotator = wrap(Coin())
    first, again = (preferences(annotator, pairs[:300], draw=1) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, preferences(annotator, pairs[:300], draw=2))
    assert not np.array_equal(first, preferences(annotator, pairs[:300], seed=1, draw=1))


# ------------------------------------------------------------------------------------- records


def test_what_is_recorded_is_said_again_whichever_way_round(
    pairs: list[Pair], tmp_path: Path
) -> None:
    path = str(tmp_path / "folder" / "judgments.jsonl")
    some = pairs[:50]
    judgments = Recorder(annotator=Repeats(annotator=Coin(), k=3), path=path).annotate(some, seed=0)
    assert [judgment for _, judgment in read_lines(Path(path))] == judgments
    recorded = Recorded(path=path)
    assert preferences(recorded, some) == pytest.approx([j.preference or 0.0 for j in judgments])
    turned = preferences(recorded, [turn_pair(pair) for pair in some])
    assert turned == pytest.approx([1 - (j.preference or 0.0) for j in judgments])
    unknown = Recorded(path=path).annotate(pairs[60:61], seed=0)
    assert unknown[0].preference is None
    assert preferences(Recorded(path=path, otherwise=Coin()), pairs[60:70]).shape == (10,)


def test_conversations_survive_alpaca_evals_format(tmp_path: Path) -> None:
    turns = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    pair = make_pair(make_instruction(turns), "x", "y")
    path = tmp_path / "annotations.json"
    write_annotations(path, [(pair, *Coin().annotate([pair], seed=0))])
    assert Recorded(path=str(path)).annotate([pair], seed=0)[0].preference is not None


def test_alpaca_eval_annotations_go_out_and_come_back(pairs: list[Pair], tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    some = pairs[:20]
    judgments = Coin().annotate(some, seed=0)
    write_annotations(path, list(zip(some, judgments, strict=True)))
    read = Recorded(path=str(path)).annotate(some, seed=5)
    assert [j.preference for j in read] == [j.preference for j in judgments]
