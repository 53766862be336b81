"""PPO's formulas on numbers worked out by hand, and one step against a plain implementation."""

import math
from pathlib import Path

import pytest
import torch
import toy_policy as toy

from farm.models.heads import TrunkHead
from farm.seeds import seed_libraries
from farm.training.advantages import gae, whiten
from farm.training.episodes import Episodes
from farm.training.kl_control import FixedKL
from farm.training.networks import networks
from farm.training.on_policy import Run
from farm.training.ranks import Alone
from farm.types import Inputs
from methods.ppo import PPO, Lesson
from methods.ppo_loss import k1, k3, policy_loss, shaped_rewards, value_loss
from methods.ppo_value import TrunkValue


def test_kl_estimators_are_unbiased_and_k3_is_never_negative() -> None:
    pi = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    start = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    exact = (pi * (pi / start).log()).sum()
    for estimator in (k1, k3):
        torch.testing.assert_close((pi * estimator(pi.log(), start.log())).sum(), exact)
    assert (k1(pi.log(), start.log()) < 0).any()
    assert (k3(pi.log(), start.log()) >= 0).all()


def test_the_reward_lands_on_the_last_token_and_kl_on_all() -> None:
    kl = torch.tensor([[1.0, -2.0, 9.0], [3.0, 9.0, 9.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    shaped = shaped_rewards(torch.tensor([10.0, 20.0]), kl, mask, coefficient=0.5)
    assert shaped.tolist() == [[-0.5, 11.0, 0.0], [18.5, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "clipped"),
    [
        (1.0, 2.0, -2.0, 0),
        (1.5, 2.0, -2.4, 1),  # a good token gains nothing beyond 1.2
        (0.5, 2.0, -1.0, 0),  # but is raised from below
        (0.5, -2.0, 1.6, 1),  # a bad token gains nothing below 0.8
        (1.5, -2.0, 3.0, 0),  # but is lowered from above
    ],
)
def test_policy_loss(ratio: float, advantage: float, expected: float, clipped: int) -> None:
    new, old = torch.tensor([math.log(ratio) - 1]), torch.tensor([-1.0])
    found = policy_loss(new, old, torch.tensor([advantage]), clip=0.2)
    assert found.loss_N.item() == pytest.approx(expected, rel=1e-5)
    assert found.clipped_N.item() == clipped


def test_value_loss_takes_the_worse_of_value_and_clipped_value() -> None:
    values, old, returns = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 3.0]])
    found = value_loss(values, old, returns, clip=0.2)
    assert found.tolist() == pytest.approx([0.5 * 0.8**2, 0.5 * 2.8**2])


def _model():
    from transformers import LlamaConfig, LlamaForCausalLM

    seed_libraries(0, "test_ppo_loss")
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def _plain_loss(model, head, prompts, responses, rewards, *, beta, old) -> torch.Tensor:
    """PPO's loss, row by row and token by token; `old` = (log-probs, values, start's log-probs)."""
    adv, new_lp, new_v, old_lp, old_v, ret = [], [], [], [], [], []
    for i, (p, r) in enumerate(zip(prompts, responses, strict=True)):
        out = model(torch.tensor([p + r]), output_hidden_states=True)
        where = range(len(p) - 1, len(p) + len(r) - 1)
        new_lp += [out.logits[0, t].log_softmax(-1)[y] for t, y in zip(where, r, strict=True)]
        new_v += [head.head(out.hidden_states[-1][0, t])[0] for t in where]
        lp, v, start = old[0][i], old[1][i], old[2][i]
        ahead, next_v = 0.0, 0.0
        part = []
        for t in reversed(range(len(r))):
            reward = -beta * (lp[t] - start[t]) + (rewards[i] if t == len(r) - 1 else 0)
            ahead = reward + next_v - v[t] + 0.95 * ahead
            part, next_v = [ahead, *part], v[t]
        adv, old_lp, old_v = adv + part, old_lp + lp, old_v + v
        ret += [a + b for a, b in zip(part, v, strict=True)]
    a = torch.tensor(adv)
    a = (a - a.mean()) / a.std(correction=0)
    rho = (torch.stack(new_lp) - torch.tensor(old_lp)).exp()
    v, v0, ret = torch.stack(new_v), torch.tensor(old_v), torch.tensor(ret)
    near = torch.minimum(torch.maximum(v, v0 - 0.2), v0 + 0.2)
    pg = torch.maximum(-a * rho, -a * rho.clamp(0.8, 1.2)).mean()
    return pg + 0.1 * 0.5 * torch.maximum((v - ret) ** 2, (near - ret) ** 2).mean()


@pytest.mark.parametrize("tokens_per_batch", [1, 16, 1000])
def test_one_update_equals_a_plain_implementation(tokens_per_batch: int, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)

    def ids(length: int) -> list[int]:
        return torch.randint(20, (length,), generator=generator).tolist()

    prompts, responses = [ids(3), ids(7), ids(1), ids(5)], [ids(4), ids(1), ids(6), ids(2)]
    rewards = [1.0, -0.5, 2.0, 0.3]
    old = [
        [torch.randn(len(r), generator=generator).mul(0.1).sub(3).tolist() for r in responses]
        for _ in range(3)
    ]

    def padded(rows: list[list[float]]) -> torch.Tensor:
        return torch.tensor([row + [77.0] * (6 - len(row)) for row in rows])

    mask = torch.arange(6) < torch.tensor([[len(r)] for r in responses])
    kl = k1(padded(old[0]), padded(old[2]))
    shaped = shaped_rewards(torch.tensor(rewards), kl, mask, 0.3)
    found = gae(shaped, padded(old[1]), mask, gamma=1.0, lambda_=0.95)
    lesson = Lesson(
        mask, padded(old[0]), padded(old[1]), whiten(found.advantages_B_T, mask), found.returns_B_T
    )
    learner = PPO(
        **toy.LIMITS, value=TrunkValue(), kl=FixedKL(0.3), epochs=1, episodes_per_step=4,
        minibatch_size=4, tokens_per_batch=tokens_per_batch,
    )  # fmt: skip
    ours, plain, critic = _model(), _model(), TrunkHead(16)
    torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(2))
    head = TrunkHead(16)
    head.load_state_dict(critic.state_dict())
    nets = networks(
        {"model": ours, "critic": critic}, learning_rate=0.01, adam_epsilon=1e-5,
        lr_schedule="constant_with_warmup", warmup_steps=0, optimizer_steps=1, ranks=Alone(),
    )  # fmt: skip

    optimizer = torch.optim.AdamW(
        [*plain.parameters(), *head.parameters()], lr=0.01, eps=1e-5, weight_decay=0.0
    )
    loss = _plain_loss(plain, head, prompts, responses, rewards, beta=0.3, old=old)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([*plain.parameters(), *head.parameters()], 1.0)
    optimizer.step()

    run = Run([], [], Inputs(), None, None, nets, toy.context(tmp_path), None)  # type: ignore[arg-type]
    stopped = torch.ones(4, dtype=torch.bool)
    episodes = Episodes(prompts, responses, mask, stopped, torch.zeros(4, 6))
    metrics = learner.update(
        run, episodes.lengths(), learner.minibatch_loss(nets, episodes, lesson)
    )
    assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-5)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=0)
    torch.testing.assert_close(critic.head.weight, head.head.weight, atol=2e-5, rtol=0)
