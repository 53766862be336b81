"""GRPO's and RLOO's formulas: by hand, and against TRL's own code on random tensors."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
import toy_policy as toy

from farm.seeds import seed_libraries
from farm.training.episodes import Episodes, Observed
from farm.training.networks import Networks
from farm.training.ranks import Alone
from methods.group_loss import (
    answer_sums,
    group_advantages,
    leave_one_out_advantages,
    sequence_policy_loss,
)
from methods.grpo import GRPO
from methods.rloo import RLOO

PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6], [5], [3, 5]]
RESPONSES = [[8, 9, 7], [9], [3, 2, 3, 8, 4], [6, 2]]
MASK = torch.arange(5) < torch.tensor([[3], [1], [5], [2]])


def test_group_advantages_are_standard_scores_within_a_group() -> None:
    found = group_advantages(torch.tensor([1.0, 3.0, 10.0, 10.0]), 2)
    expected = 1 / (2**0.5 + 1e-4)
    assert found.tolist() == pytest.approx([-expected, expected, 0, 0])


def test_leave_one_out_compares_with_the_others() -> None:
    found = leave_one_out_advantages(torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0]), 3)
    assert found.tolist() == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5, -1.5, -1.5, 3])


def test_the_first_update_is_reinforce() -> None:
    logprobs = torch.tensor([-3.0, -5.0], requires_grad=True)
    advantages = torch.tensor([2.0, -1.0])
    sequence_policy_loss(logprobs, logprobs.detach(), advantages, 0.2).loss_B.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-2.0, 1.0])


def test_sums_over_answers() -> None:
    assert answer_sums(torch.arange(6.0), torch.tensor([1, 3, 2])).tolist() == [0, 6, 9]


def model() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    seed_libraries(0, "test_group_loss")
    config = LlamaConfig(
        vocab_size=12, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, initializer_range=0.3,
    )  # fmt: skip
    found: torch.nn.Module = LlamaForCausalLM(config).eval()
    return found


def padded_logprobs(policy: torch.nn.Module) -> torch.Tensor:
    """[4, 5], row by row; 77 behind an answer's end."""
    rows = torch.full((4, 5), 77.0)
    for i, (prompt, answer) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        logits = policy(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        logprobs = logits.log_softmax(-1)[range(len(answer)), answer]
        rows[i, : len(answer)] = logprobs
    return rows


@pytest.fixture
def case() -> SimpleNamespace:
    """Answers with old and start log-probabilities near the policy's, and random advantages."""
    noise = torch.Generator().manual_seed(3)
    policy = model()
    logprobs = padded_logprobs(policy).detach()
    old, start = (
        (logprobs + 0.3 * torch.randn(4, 5, generator=noise)).masked_fill(~MASK, 0)
        for _ in range(2)
    )
    nothing = torch.zeros(4, 5)
    stopped = torch.ones(4, dtype=torch.bool)
    return SimpleNamespace(
        policy=policy,
        networks=Networks({"model": policy}, None, None, Alone()),
        episodes=Episodes(PROMPTS, RESPONSES, MASK, stopped, old),
        observed=Observed(old, start, nothing, nothing, nothing[None]),
        advantages=torch.randn(4, generator=noise),
    )


def trl_stub(case: SimpleNamespace, **more: object) -> MagicMock:
    """What TRL's `_compute_loss` reads of its trainer."""
    stub = MagicMock()
    stub._get_per_token_logps_and_entropies = lambda *_, **__: (
        padded_logprobs(case.policy), torch.zeros(4, 5), None,
    )  # fmt: skip
    settings = {
        "epsilon_low": 0.2, "epsilon_high": 0.2, "beta": 0.3, "loss_type": "grpo",
        "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "use_vllm": False,
        "importance_sampling_level": "token", "current_gradient_accumulation_steps": 1,
        "aux_loss_enabled": False, "_entropy_bonus_enabled": False, **more,
    }  # fmt: skip
    for name, value in settings.items():
        setattr(stub, name, value)
    stub.args.delta, stub.args.use_bias_correction_kl = None, False
    stub.accelerator.gather = stub.accelerator.reduce = lambda x, **_: x
    return stub


def trl_inputs(case: SimpleNamespace) -> dict[str, torch.Tensor]:
    ids = torch.zeros(4, 5, dtype=torch.long)
    return {
        "prompt_ids": ids, "prompt_mask": ids, "completion_ids": ids,
        "completion_mask": MASK.long(), "advantages": case.advantages,
        "old_per_token_logps": case.observed.logprobs_B_T,
        "old_logps": case.observed.logprobs_B_T.sum(1),
        "ref_per_token_logps": case.observed.start_logprobs_B_T,
    }  # fmt: skip


def gradients(policy: torch.nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(policy.parameters())))


def compare(case: SimpleNamespace, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    pairs = zip(gradients(case.policy, ours), gradients(case.policy, theirs), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("corrected", [False, True])
def test_grpo_is_trls(case: SimpleNamespace, corrected: bool) -> None:
    trl = pytest.importorskip("trl.trainer.grpo_trainer")
    noise = torch.Generator().manual_seed(4)
    weights = (0.5 * torch.randn(4, 5, generator=noise)).exp() if corrected else torch.ones(4, 5)
    stub = trl_stub(case, use_vllm=corrected, vllm_importance_sampling_correction=corrected)
    theirs = trl.GRPOTrainer._compute_loss(
        stub, case.policy, {**trl_inputs(case), "importance_sampling_ratio": weights}
    )
    learner = GRPO(**toy.LIMITS, kl_coefficient=0.3, answers_per_prompt=2)
    weighed = case.advantages[:, None] * weights
    loss = learner.minibatch_loss(case.networks, case.episodes, case.observed, weighed)
    rows = [0, 1, 2, 3]
    assert 0 < loss(rows, rows)["clip_fraction"] < 1
    parts = sum(loss(part, rows)["loss"] for part in ([3], [0, 2], [1]))
    assert isinstance(parts, torch.Tensor)
    compare(case, parts, theirs)


def test_rloo_is_trls(case: SimpleNamespace) -> None:
    trl = pytest.importorskip("trl.trainer.rloo_trainer")
    theirs = trl.RLOOTrainer._compute_loss(trl_stub(case), case.policy, trl_inputs(case))
    learner = RLOO(**toy.LIMITS, answers_per_prompt=2)
    loss = learner.minibatch_loss(case.networks, case.episodes, case.observed, case.advantages)
    rows = [0, 1, 2, 3]
    assert 0 < loss(rows, rows)["clip_fraction"] < 1
    parts = sum(loss(part, rows)["loss"] for part in ([3], [0, 2], [1]))
    assert isinstance(parts, torch.Tensor)
    compare(case, parts, theirs)
