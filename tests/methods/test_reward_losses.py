"""Formulas of reward models: against closed forms, hand computations and TRL."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import toy_policy as toy

from farm.config import build
from farm.errors import ConfigError, DataError
from farm.models.load import load_reward_model, load_tokenizer, save_policy
from farm.protocols import FloatArray
from farm.scorers.ensemble import EnsembleScorer, Mean, UncertaintyPenalised, Worst
from farm.seeds import seed_libraries
from farm.types import Instruction, LabeledPair
from methods.reward.attributes import Attributes, masked_squared_error
from methods.reward.bradley_terry import BradleyTerry
from methods.reward.ensemble import bootstrap
from methods.reward.extrapolation import best_alpha, extrapolated
from methods.reward.margin_bradley_terry import MarginBradleyTerry
from methods.reward.pair_reward import PairRewardLearner
from methods.reward.scaled_bradley_terry import ScaledBradleyTerry

STRENGTHS = [1.0, -2.0, 3.0, -3.0, 1.0]  # their sizes are 2 on average: all weights are exact
PREFERENCES = [1.0, 0.0, 0.75, 0.0, 1.0]


def labels(
    preferences: Sequence[float] = PREFERENCES, strengths: Sequence[float | None] = STRENGTHS
) -> list[LabeledPair]:
    asked = toy.instructions(len(preferences))
    found = []
    for number, (preference, strength) in enumerate(zip(preferences, strengths, strict=True)):
        pair, judgment = toy.label(asked[number], "hay", "oats", preference=preference)
        found.append(LabeledPair(pair, replace(judgment, strength=strength)))
    return found


def random_scores(
    rows: int = len(STRENGTHS), outputs: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of both answers, float64, that gradients can be asked of."""
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, len(STRENGTHS), 1, generator=rng, dtype=torch.float64)
    return a.requires_grad_(), b.requires_grad_()


def mean_loss(
    learner: PairRewardLearner, rows: list[LabeledPair], a: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    return learner.loss_on(rows)(a, b, range(len(rows))).losses_B.mean()


def test_scaling_is_seeing_a_pair_as_often_as_it_is_strong() -> None:
    rows, (a, b) = labels(), random_scores()
    scaled = mean_loss(ScaledBradleyTerry(**toy.LIMITS), rows, a, b)
    times = [number for number, row in enumerate(STRENGTHS) for _ in range(int(abs(row)))]
    repeated = mean_loss(
        BradleyTerry(**toy.LIMITS), [rows[number] for number in times], a[times], b[times]
    )
    torch.testing.assert_close(scaled, repeated, atol=1e-12, rtol=0)
    for one, other in zip(
        torch.autograd.grad(scaled, [a, b]), torch.autograd.grad(repeated, [a, b]), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_equal_strengths_are_no_strengths() -> None:
    """The normaliser takes the size of strengths out of the step."""
    (a, b), plain = random_scores(), BradleyTerry(**toy.LIMITS)
    rows = labels(strengths=[3.0, -3.0, 3.0, -3.0, 3.0])
    scaled = mean_loss(ScaledBradleyTerry(**toy.LIMITS), rows, a, b)
    assert scaled.item() == mean_loss(plain, rows, a, b).item()


def trl_loss(chosen_B: torch.Tensor, rejected_B: torch.Tensor, margin_B: torch.Tensor) -> Any:
    """What TRL's own trainer computes of these scores."""
    from trl import RewardTrainer

    def same(figures: Any) -> Any:
        return figures

    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(center_rewards_coefficient=None),
        accelerator=SimpleNamespace(gather=same, gather_for_metrics=same),
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    logits = torch.cat([chosen_B, rejected_B])[:, None]
    inputs = {"margin": margin_B, "attention_mask": torch.ones(1)}
    return RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=logits), inputs)


def test_margins_are_those_of_trl() -> None:
    hard = [1.0, 0.0, 1.0, 0.0, 1.0]
    rows, (a, b) = labels(preferences=hard), random_scores()
    ours = mean_loss(MarginBradleyTerry(**toy.LIMITS), rows, a, b)
    b_better = torch.tensor(hard) == 1
    chosen_B = torch.where(b_better, b[:, 0], a[:, 0])
    rejected_B = torch.where(b_better, a[:, 0], b[:, 0])
    theirs = trl_loss(chosen_B, rejected_B, torch.tensor(STRENGTHS).abs())
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    for one, other in zip(
        torch.autograd.grad(ours, [a, b]), torch.autograd.grad(theirs, [a, b]), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_soft_label_asks_for_a_margin_on_both_sides() -> None:
    (row,) = labels([0.75], [2.0])
    a, b = torch.zeros(1, 1), torch.full((1, 1), 0.5)
    found = mean_loss(MarginBradleyTerry(**toy.LIMITS), [row], a, b).item()
    by_hand = 0.75 * np.log1p(np.exp(-(0.5 - 2))) + 0.25 * np.log1p(np.exp(-(-0.5 - 2)))
    assert found == pytest.approx(by_hand, abs=1e-6)


def test_ties_have_no_margin_and_no_weight() -> None:
    rows = labels([1.0, 0.5, 0.5], [2.0, 0.0, None])
    assert MarginBradleyTerry(**toy.LIMITS).margins(rows) == [2.0, 0.0, 0.0]
    assert ScaledBradleyTerry(**toy.LIMITS).weights(rows) == [3.0, 0.0, 0.0]


@pytest.mark.parametrize("learner", [MarginBradleyTerry, ScaledBradleyTerry])
def test_missing_strengths_are_told(learner: type[BradleyTerry]) -> None:
    rows = labels(strengths=[1.0, None, 3.0, None, 1.0])
    with pytest.raises(DataError, match=r"2 of 5 labels .*barnyard_graded"):
        learner(**toy.LIMITS).loss_on(rows)
    with pytest.raises(DataError, match="all of the 5 labels have strength 0"):
        learner(**toy.LIMITS).loss_on(labels(strengths=[0.0] * 5))


def test_masked_squared_error_by_hand() -> None:
    nan = float("nan")
    outputs = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    targets = torch.tensor([[2.0, nan, 3.0, 1.0], [nan, nan, nan, 4.0]])
    losses = masked_squared_error(outputs, targets)
    assert losses.tolist() == pytest.approx([(1 + 0 + 9) / 3, 16.0])
    losses.sum().backward()
    assert outputs.grad is not None
    expected = [[-2 / 3, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, -8.0]]
    torch.testing.assert_close(outputs.grad, torch.tensor(expected))


def test_ratings_go_to_their_outputs_and_answers() -> None:
    (row,) = labels([1.0], [1.0])
    rated = row._replace(
        judgment=replace(row.judgment, attributes={"verbosity": (1.0, 4.0), "helpfulness": (2, 3)})
    )
    learner = Attributes(**toy.LIMITS, weights={"helpfulness": 1.0, "tone": 0.0, "verbosity": -1.0})
    a, b = torch.tensor([[0.0, 50.0, 0.0]]), torch.tensor([[1.0, -50.0, 2.0]])
    found = learner.loss_on([rated])(a, b, [0])
    assert found.losses_B.item() == pytest.approx((2**2 + 1**2 + 2**2 + 2**2) / 4)
    assert found.metrics["margin"].item() == pytest.approx((1 - 2) - 0)
    assert found.metrics["accuracy"].item() == 0


def test_labels_without_ratings_are_left_out_or_told() -> None:
    rows = labels()
    learner = Attributes(**toy.LIMITS, weights={"helpfulness": 1.0})
    with pytest.raises(DataError, match=r"none of the 5 labels rates answers by helpfulness"):
        learner.usable(rows)
    rated = rows[1]._replace(judgment=replace(rows[1].judgment, attributes={"helpfulness": (1, 2)}))
    assert learner.usable([rows[0], rated]) == [rated]
    with pytest.raises(ConfigError, match="weights"):
        Attributes(**toy.LIMITS, weights={"helpfulness": 0.0})


def test_extrapolation_goes_on_by_alpha(tmp_path: Path) -> None:
    start = toy.starting_policy(tmp_path / "start")
    for name in ("initial", "trained"):
        seed_libraries(0, name)
        model = load_reward_model(start.path)
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
        save_policy(model, load_tokenizer(start.path), tmp_path / name)
    initial, trained = (toy.weights(tmp_path / name) for name in ("initial", "trained"))
    assert "score.weight" in initial
    for alpha in (0.0, 0.5, 2.0):
        found = extrapolated(tmp_path / "trained", tmp_path / "initial", alpha, "cpu").state_dict()
        assert found.keys() == initial.keys()
        for name, weight in found.items():
            expected = (1 + alpha) * trained[name] - alpha * initial[name]
            torch.testing.assert_close(weight, expected, atol=1e-5, rtol=0)
    assert found["score.weight"].shape == (1, 32)


def test_the_smallest_of_the_best_alphas_is_chosen() -> None:
    assert best_alpha({0.0: 0.7, 0.5: 0.8, 1.0: 0.8, 2.0: 0.6}) == 0.5
    assert best_alpha({2.0: 0.7, 0.0: 0.7}) == 0.0


class Constant:
    """A scorer of numbers that are given."""

    def __init__(self, *scores: float) -> None:
        self._scores = np.array(scores)

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return self._scores


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (Mean(), [1.0, 6.0]),
        (Worst(), [0.0, 4.0]),
        (UncertaintyPenalised(0.5), [1.0 - 0.5 * np.sqrt(2 / 3), 6.0 - 0.5 * np.sqrt(8 / 3)]),
    ],
)
def test_aggregates_by_hand(aggregate: Any, expected: list[float]) -> None:
    members = [Constant(0.0, 8.0), Constant(1.0, 6.0), Constant(2.0, 4.0)]
    asked = toy.instructions(2)
    assert EnsembleScorer(members, aggregate, [0.0] * 3).score(asked, ["", ""]) == pytest.approx(
        expected
    )
    moved = EnsembleScorer(  # the same, had the members not their own constants
        [Constant(5.0, 13.0), Constant(1.0, 6.0), Constant(0.0, 2.0)], aggregate, [5.0, 0.0, -2.0]
    )
    assert moved.score(asked, ["", ""]) == pytest.approx(expected)


def test_an_ensemble_that_cannot_be_is_told() -> None:
    with pytest.raises(ConfigError, match="offsets"):
        EnsembleScorer([Constant(1.0)], Mean(), [])
    with pytest.raises(ConfigError, match="members"):
        EnsembleScorer([], Mean(), [])
    with pytest.raises(ConfigError, match="coefficient"):
        build({"_target_": "farm.scorers.ensemble.UncertaintyPenalised", "coefficient": -1.0})


def test_a_bootstrap_draws_whole_instructions() -> None:
    asked = toy.instructions(400)
    rows = [toy.label(i, "hay", word, preference=1.0) for i in asked for word in ("ox", "ow")]
    drawn = bootstrap(rows, seed=0)
    ids = [row.pair.instruction.id for row in drawn]
    counts = {id: ids.count(id) for id in set(ids)}
    each = {id: [r.pair.instruction.id for r in rows].count(id) for id in counts}
    assert all(counts[id] % each[id] == 0 for id in counts)
    distinct = len({row.pair.instruction.id for row in rows})
    assert len(counts) / distinct == pytest.approx(1 - np.exp(-1), abs=0.08)
    assert drawn == bootstrap(rows, seed=0) and drawn != bootstrap(rows, seed=1)
