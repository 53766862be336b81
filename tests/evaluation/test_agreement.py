"""Agreement, bias, variance and tastes, by hand and against alpaca_eval's own analyzer."""

import time

import numpy as np
import pytest

from farm.evaluation import agreement
from farm.evaluation.agreement import Tally
from farm.evaluation.text_features import confidence, is_list
from farm.protocols import FloatArray
from farm.seeds import generator

NONE = np.nan


def value(tally: Tally) -> float:
    return float(tally.top.sum() / tally.bottom.sum())


def votes(*rows: list[float]) -> FloatArray:
    return np.array(rows, dtype=np.float64)


def test_plain_agreement_with_one_label() -> None:
    labels = votes([1], [0], [0.5], [NONE], [1])
    draws = votes([1, 0], [0, 0], [1, 1], [1, 1], [NONE, 0.8])
    assert value(agreement.agreement(draws, labels)) == pytest.approx(
        (1 + 0 + 1 + 1 + 0.5 + 0.5 + 0.8) / 7
    )


def test_several_labels_are_left_out_in_turn() -> None:
    """Without one 1 the others tie (1/2); without the 0 they say 1."""
    crowd = votes([1, 1, 0])
    assert value(agreement.agreement(votes([1]), crowd)) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert value(agreement.leave_one_out(crowd)) == pytest.approx((0.5 + 0.5 + 0) / 3)


def test_four_hard_labels_agree_left_out_as_whole() -> None:
    """So AlpacaEval's comparison with the mode of all four has the same expectation."""
    for ones in range(5):
        crowd = votes([1.0] * ones + [0.0] * (4 - ones))
        left_out = value(agreement.agreement(votes([1]), crowd))
        assert left_out == pytest.approx(value(agreement.mode_agreement(votes([1]), crowd)))


def test_missing_labels_leave_a_pair_with_those_it_has() -> None:
    ragged, plain = votes([1, NONE, NONE], [1, 0, NONE]), votes([1], [0.5])
    draws = votes([1], [1])
    assert value(agreement.agreement(draws, ragged)) == pytest.approx(
        value(agreement.agreement(draws, plain))
    )
    assert agreement.leave_one_out(ragged).bottom.tolist() == [0, 2]


def test_modes_tie_and_soft_votes_have_a_median() -> None:
    values, weights = agreement.modes(votes([0, 1, 1], [0, 1, NONE], [0.2, 0.9, 1], [NONE] * 3))
    assert (values * weights).sum(axis=1) == pytest.approx([1, 0.5, 0.9, 0])
    assert weights.sum(axis=1) == pytest.approx([1, 1, 1, 0])
    # A tie of modes is a coin's toss, not half a vote: it agrees with a tied verdict by half.
    assert value(agreement.mode_agreement(votes([0.5]), votes([0, 1]))) == 0.5


def test_bias_and_variance() -> None:
    draws, labels = votes([1, 1, 0, 1], [0, 0, 0, 0]), votes([1], [1])
    assert value(agreement.mode_agreement(draws, labels)) == 0.5
    assert value(agreement.leave_one_out(draws)) == pytest.approx((3 + 4) / 8)
    assert not agreement.leave_one_out(votes([1], [0])).bottom.any()


def test_tastes() -> None:
    side = agreement.side(np.array([10, 50, 10]), np.array([50, 10, 40]), beyond=30)
    assert side.tolist() == [1, -1, 0]
    draws = votes([0.9, 0.5, NONE], [0, 1, 0], [1, 1, 1])
    assert value(agreement.prefers(draws, side)) == 3 / 4
    b_first = np.array([[True, False, False]] * 3)
    assert value(agreement.prefers_first(draws, b_first)) == pytest.approx(
        (0.9 + 0.5 + 0 + 0 + 1 + 1 + 0 + 0) / 8
    )


def synthetic(soft: bool) -> tuple[list[tuple[str, str]], FloatArray, FloatArray]:
    """60 pairs of answers with four draws and four labels each, none of them two against two."""
    texts, labels, draws = [], [], []
    for i in range(60):
        a = ("- item\n" if i % 3 == 0 else "") + "a" * (20 + 7 * (i % 11))
        b = ("1. item\n" if i % 4 == 0 else "") + "b" * (10 + 9 * (i % 13))
        label, draw = i * 7 % 10 < 3 + i % 5, i * 11 % 10 < 2 + i % 6
        odd_label = i * 3 % 4 if i % 2 else None
        odd_draw = i * 5 % 4 if i % 3 == 1 else None
        pull = [0.3 + 0.15 * ((i + k) % 5) if soft else 1.0 for k in range(4)]
        texts.append((a, b))
        labels.append([float(label != (k == odd_label)) for k in range(4)])
        draws.append([0.5 + ((draw != (k == odd_draw)) - 0.5) * pull[k] for k in range(4)])
    return texts, np.array(draws), np.array(labels)


@pytest.mark.parametrize(
    ("soft", "theirs"),
    [
        (False, (56.6666667, 43.3333333, 8.3333333, 0.5773503, 0.6123724, 0.5833333)),
        (True, (53.375, 46.625, 17.75, 0.5773503, 0.5683502, 0.555)),
    ],
)
def test_alpaca_eval_says_the_same(soft: bool, theirs: tuple[float, ...]) -> None:
    """`alpaca_eval.analyze.get_metrics_evaluator` (0.6.6) of these draws, written as preferences
    1 + draw by `index`, with an Analyzer of these labels (gold_crossannotations = gold_annotations,
    n_annotators=4), instruction `i{i}`, generator `s{i % 5}`. Its tastes look at the first draw of
    a pair alone."""
    texts, draws, labels = synthetic(soft)
    correlations = agreement.system_correlations(
        draws, labels, np.arange(60) % 5, agreement.resampled(range(60), replicates=100, seed=0)
    )
    ours = (
        100 * value(agreement.agreement(draws, labels)),
        100 - 100 * value(agreement.mode_agreement(draws, labels)),
        100 - 100 * value(agreement.leave_one_out(draws)),
        correlations.spearman.estimate,
        correlations.pearson.estimate,
        value(agreement.prefers_first(draws, np.zeros(draws.shape, bool))),
    )
    assert ours == pytest.approx(theirs)
    sizes = np.array([[len(text) for text in pair] for pair in texts])
    longer = agreement.side(sizes[:, 0], sizes[:, 1], beyond=30)
    lists = agreement.side(*np.array([[is_list(text) for text in pair] for pair in texts]).T)
    assert value(agreement.prefers(draws[:, :1], longer)) == pytest.approx(0.5483871)
    assert value(agreement.prefers(draws[:, :1], lists)) == pytest.approx(0.56)
    assert value(agreement.leave_one_out(labels)) == pytest.approx(0.875)  # its `humans`
    assert value(agreement.prefers(labels[:, :1], longer)) == pytest.approx(0.3548387)


def test_correlations_need_three_systems_that_differ() -> None:
    draws, samples = (
        votes([1], [0], [1], [0]),
        agreement.resampled(range(4), replicates=100, seed=0),
    )
    two = agreement.system_correlations(draws, draws, np.array([0, 1, 0, 1]), samples)
    none = agreement.system_correlations(draws, draws, np.array([], dtype=np.int64), samples)
    assert np.isnan([*two.spearman, *two.pearson, *none.spearman]).all()
    same = agreement.system_correlations(np.ones((4, 1)), draws, np.array([0, 1, 2, 2]), samples)
    assert np.isnan(same.pearson.estimate)


def test_intervals_cover_at_their_rate() -> None:
    """Pairs differ in how often their draws agree, so draws of one pair go together."""
    covered = 0
    for trial in range(300):
        rng = generator(trial, "coverage")
        draws = (rng.random((150, 4)) < rng.beta(2, 1, size=(150, 1))).astype(float)
        samples = agreement.resampled(range(150), replicates=300, seed=trial)
        low, high = agreement.share_interval(agreement.mean(draws), samples)[1:]
        covered += low <= 2 / 3 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_pairs_of_one_instruction_are_resampled_together() -> None:
    """Ten systems' answers to one instruction that all go one way say as much as one of them."""
    rng = generator(0, "clusters")
    verdicts = rng.random(80).round()[:, None]
    repeated = np.repeat(verdicts, 10, axis=0)
    single = agreement.resampled(range(80), replicates=500, seed=0)
    clustered = agreement.resampled(np.repeat(range(80), 10).tolist(), replicates=500, seed=0)
    one, ten = agreement.mean(verdicts), agreement.mean(repeated)
    assert agreement.share_interval(ten, clustered) == pytest.approx(
        agreement.share_interval(one, single)
    )
    apart = agreement.resampled(range(800), replicates=500, seed=0)
    low, high = agreement.share_interval(ten, apart)[1:]
    wide_low, wide_high = agreement.share_interval(ten, clustered)[1:]
    assert wide_high - wide_low > 2.5 * (high - low)
    unanimous = agreement.share_interval(agreement.mean(np.ones((800, 1))), clustered)
    assert unanimous.low == pytest.approx(0.025 ** (1 / 80))


def test_resampling_is_the_same_whatever_instructions_are_called() -> None:
    named = agreement.resampled(["z", "a", "z", "m"], replicates=100, seed=0)
    numbered = agreement.resampled([0, 1, 0, 2], replicates=100, seed=0)
    assert np.array_equal(named.counts_R_N, numbered.counts_R_N)
    assert np.array_equal(named.counts_R_N[:, 0], named.counts_R_N[:, 2])


def test_unanimous_verdicts_have_an_open_end() -> None:
    samples = agreement.resampled(range(20), replicates=100, seed=0)
    low, high = agreement.share_interval(agreement.mean(np.ones((20, 4))), samples)[1:]
    assert low == pytest.approx(0.025 ** (1 / 20))
    assert high == 1
    nothing = agreement.share_interval(agreement.mean(np.full((20, 4), NONE)), samples)
    assert np.isnan(nothing).all()


def test_intervals_are_fast() -> None:
    rng = generator(0, "fast")
    draws, labels = (rng.integers(2, size=(805, 4)).astype(float) for _ in range(2))
    start = time.perf_counter()
    samples = agreement.resampled(range(805), replicates=1000, seed=0)
    for tally in (agreement.agreement(draws, labels), agreement.leave_one_out(draws)):
        agreement.share_interval(tally, samples)
    agreement.system_correlations(draws, labels, np.arange(805) % 20, samples)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("text", ["- hay", "x\n * hay", "• hay", "1. hay", "2) hay", "b) hay"])
def test_lists(text: str) -> None:
    assert is_list(text)


@pytest.mark.parametrize("text", ["", "hay - cow", "a.hay", "3 hens", "-", "cow\nhay"])
def test_no_lists(text: str) -> None:
    assert not is_list(text)


def test_confidence_counts_whole_words() -> None:
    assert confidence("Certainly, it is clearly so. Maybe.") == 1
    assert confidence("Perhaps it might.") == -2
    assert confidence("uncertainly unclearly mighty") == 0
