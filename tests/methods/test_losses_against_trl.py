"""Every pairwise loss is TRL's on random numbers; soft labels lie between the hard ones."""

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import toy_policy as toy
from torch import Tensor
from trl import DPOTrainer, KTOTrainer

from farm.training.answer_logprobs import PairLogprobs
from farm.training.loss_trainer import RowLosses
from methods.dpo import DPO
from methods.dpo_loss import IPO, Hinge, PairLoss, Robust, Sigmoid
from methods.kto import KTO
from methods.orpo import ORPO
from methods.simpo import SimPO

PAIRS, VOCABULARY, PROMPT, LONGEST = 16, 11, 3, 6


class Bigrams(torch.nn.Module):
    """A language model whose next token depends on the last one alone, asked as TRL asks."""

    is_gradient_checkpointing = False

    def __init__(self, seed: int) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        logits_V_V = torch.randn(VOCABULARY, VOCABULARY, generator=draws, dtype=torch.float64)
        self.logprobs_V_V = (3 * logits_V_V).log_softmax(-1)

    def logprobs(self, ids_B_L: Tensor, learned_B_L: Tensor) -> Tensor:
        """Of each token but the first [B, L - 1]; 0 where it is not learned."""
        return self.logprobs_V_V[ids_B_L[:, :-1], ids_B_L[:, 1:]] * learned_B_L[:, 1:]

    def forward(self, *, input_ids: Tensor, labels: Tensor, **_: Any) -> SimpleNamespace:
        found = self.logprobs(input_ids, labels != -100)
        zeros = torch.zeros_like(found)
        return SimpleNamespace(
            log_probs=found, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
        )


POLICY, START = Bigrams(1), Bigrams(0)


class Rows(NamedTuple):
    """Prompts of one length with answers of any, as TRL's collators lay them out."""

    input_ids: Tensor
    completion_mask: Tensor

    @property
    def inputs(self) -> dict[str, Tensor]:
        return {**self._asdict(), "attention_mask": torch.ones_like(self.input_ids)}


def rows(seed: int) -> Rows:
    draws = torch.Generator().manual_seed(seed)
    ids_B_L = torch.randint(VOCABULARY, (PAIRS, PROMPT + LONGEST), generator=draws)
    lengths_B_1 = torch.randint(1, LONGEST + 1, (PAIRS, 1), generator=draws)
    columns_L = torch.arange(PROMPT + LONGEST)
    return Rows(ids_B_L, ((columns_L >= PROMPT) & (columns_L < PROMPT + lengths_B_1)).long())


A, B, MISMATCHED_A, MISMATCHED_B = map(rows, range(4))


def summed(model: Bigrams, answers: Rows) -> Tensor:
    return model.logprobs(answers.input_ids, answers.completion_mask).sum(1)


def ratio(answers: Rows) -> Tensor:
    return summed(POLICY, answers) - summed(START, answers)


def says(preference: float) -> PairLogprobs:
    """The policy's word on all pairs, each labelled alike."""
    counts = [answers.completion_mask.sum(1) for answers in (A, B)]
    preference_B = torch.full((PAIRS,), preference, dtype=torch.float64)
    return PairLogprobs(summed(POLICY, A), summed(POLICY, B), *counts, preference_B, torch.zeros(1))


def stub(trainer: type, **settings: Any) -> Any:
    """TRL's trainer without its constructor: what its loss reads, and the settings."""
    one: Any = object.__new__(trainer)
    accelerator = SimpleNamespace(
        device="cpu", gather=lambda found: found, gather_for_metrics=lambda found: found
    )
    vars(one).update(
        model=POLICY, ref_model=START, args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        accelerator=accelerator, aux_loss_enabled=False, precompute_ref_logps=False,
        _metrics=defaultdict(lambda: defaultdict(list)), _total_train_tokens=0, _tp_size=1,
        **{"label_smoothing": 0.0, **settings},
    )  # fmt: skip
    return one


@pytest.mark.parametrize(
    ("name", "loss"),
    [("sigmoid", Sigmoid()), ("hinge", Hinge()), ("ipo", IPO()), ("robust", Robust(flip=0.2))],
)
def test_dpo(name: str, loss: PairLoss) -> None:
    trainer = stub(
        DPOTrainer, loss_types=[name], loss_weights=[1.0], beta=0.3, label_smoothing=0.2,
        ld_alpha=None, f_divergence_type="reverse_kl", use_weighting=False,
    )  # fmt: skip
    both = Rows(*(torch.cat(pair) for pair in zip(B, A, strict=True)))  # the chosen ones first
    theirs = trainer._compute_loss(POLICY, both.inputs, False)
    learner = DPO(**toy.LIMITS, beta=0.3, loss=loss)
    same(learner.pair_losses(says(1.0), ratio(A), ratio(B)).losses_B.mean(), theirs)


def test_kto() -> None:
    """One batch of TRL's: all preferred answers, then all others, with their mismatched twins."""
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.7}
    trainer = stub(KTOTrainer, loss_type="kto", beta=0.3, calculate_KL=True, **weights)
    both = Rows(*(torch.cat(pair) for pair in zip(B, A, strict=True)))
    twins = Rows(*(torch.cat(pair) for pair in zip(MISMATCHED_B, MISMATCHED_A, strict=True)))
    inputs = both.inputs | {f"KL_{name}": value for name, value in twins.inputs.items()}
    inputs["label"] = torch.arange(2 * PAIRS) < PAIRS
    theirs = trainer._compute_loss(POLICY, inputs, False)
    z0 = torch.cat([ratio(MISMATCHED_A), ratio(MISMATCHED_B)]).mean().clamp(min=0)
    assert z0 > 0
    learner = KTO(**toy.LIMITS, beta=0.3, lambda_desirable=1.5, lambda_undesirable=0.7)
    same(learner.pair_losses(says(1.0), ratio(A), ratio(B), z0).losses_B.mean(), theirs)


def test_orpo() -> None:
    """The odds-ratio term; TRL's other one learns the prompt's tokens too."""
    orpo = pytest.importorskip("trl.experimental.orpo")
    said = says(1.0)
    a_B, b_B = said.a_B / said.a_tokens_B, said.b_B / said.b_tokens_B
    theirs, *_ = stub(orpo.ORPOTrainer, beta=0.3).odds_ratio_loss(b_B, a_B)
    same(ORPO(**toy.LIMITS, beta=0.3).pair_losses(said).losses_B, -b_B - theirs)


def test_simpo() -> None:
    cpo = pytest.importorskip("trl.experimental.cpo")
    said = says(1.0)
    means = said.b_B / said.b_tokens_B, said.a_B / said.a_tokens_B
    trainer = stub(cpo.CPOTrainer, beta=2.0, alpha=0.0, loss_type="simpo", simpo_gamma=0.9)
    theirs, *_ = trainer.cpo_loss(*means)
    same(SimPO(**toy.LIMITS, beta=2.0, gamma=0.9).pair_losses(said).losses_B, theirs)


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0, check_dtype=False)


Losses = Callable[[PairLogprobs], RowLosses]


def dpo(loss: PairLoss) -> Losses:
    return lambda said: DPO(**toy.LIMITS, loss=loss).pair_losses(said, said.a_B, said.b_B)


def kto(said: PairLogprobs) -> RowLosses:
    return KTO(**toy.LIMITS).pair_losses(said, said.a_B, said.b_B, torch.tensor(0.4))


LOSSES: dict[str, Losses] = {
    "sigmoid": dpo(Sigmoid()),
    "hinge": dpo(Hinge()),
    "ipo": dpo(IPO()),
    "robust": dpo(Robust(flip=0.2)),
    "kto": kto,
    "orpo": ORPO(**toy.LIMITS).pair_losses,
    "simpo": SimPO(**toy.LIMITS).pair_losses,
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_soft_label_weighs_the_two_hard_ones(name: str) -> None:
    if_a, if_b, soft = (LOSSES[name](says(p)).losses_B for p in (0.0, 1.0, 0.7))
    torch.testing.assert_close(soft, 0.7 * if_b + 0.3 * if_a)
    assert (if_a != if_b).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_tie_between_equals_pulls_to_neither_side(name: str) -> None:
    logprobs_B = torch.tensor([-4.0, -1.0, -9.0])
    sides = [logprobs_B.clone().requires_grad_(True) for _ in "ab"]
    tokens_B = torch.tensor([3, 1, 5])
    for preference, pulls in ((0.5, False), (0.6, True)):
        labels_B = torch.full((3,), preference)
        said = PairLogprobs(*sides, tokens_B, tokens_B, labels_B, torch.zeros(1))
        to_a_B, to_b_B = torch.autograd.grad(LOSSES[name](said).losses_B.sum(), sides)
        assert ((to_a_B - to_b_B).abs() > 1e-6).all() == pulls


def test_certain_answers_have_finite_odds() -> None:
    certain_B = torch.zeros(2, requires_grad=True)
    one_B = torch.ones(2)
    said = PairLogprobs(certain_B, -one_B, one_B, one_B, 0.5 * one_B, torch.zeros(1))
    losses_B = ORPO(**toy.LIMITS).pair_losses(said).losses_B
    (gradient_B,) = torch.autograd.grad(losses_B.sum(), certain_B)
    assert losses_B.isfinite().all() and gradient_B.isfinite().all()
