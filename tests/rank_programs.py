"""What tests of ranks run in each of several processes."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import toy_policy as toy
from torch import distributed

from farm.context import Context, Follower
from farm.generation import batch, logprobs
from farm.models import load
from farm.protocols import FloatArray
from farm.training import answer_scores
from farm.training.kl_control import FixedKL
from farm.training.ranks import Alone, Group, Ranks, ShardingGroup
from farm.training.tuning import LISA, Full, LoRA
from farm.types import Decoding, Inputs, Instruction, PolicyRef
from methods.continual_pretraining import ContinualPretraining
from methods.corpora import RedrawnMixture
from methods.dpo import DPO
from methods.kto import KTO
from methods.ppo import PPO
from methods.ppo_value import TrunkValue
from methods.reward.bradley_terry import BradleyTerry
from methods.sft import SFT

OFFLINE = {**toy.LIMITS, "learning_rate": 5e-3, "batch_size": 16, "epochs": None, "max_steps": 20}


class HayReward:
    """How often an answer says hay."""

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        return np.array([float(text.split().count("hay")) for text in completions])


def _ppo(start: PolicyRef, context: Context, **keys: Any) -> None:
    common: dict[str, Any] = {**toy.LIMITS, "learning_rate": 2e-3, **keys}
    learner = PPO(value=TrunkValue(), kl=FixedKL(0.1), **common)
    learner.fit(start, Inputs(instructions=toy.instructions(40), reward=HayReward()), context)


def ppo(start: PolicyRef, context: Context) -> None:
    """Twenty steps."""
    _ppo(
        start, context, steps=20, episodes_per_step=32, minibatch_size=16, epochs=2,
        tokens_per_batch=150,
    )  # fmt: skip


def dpo(start: PolicyRef, context: Context) -> None:
    """Twenty steps."""
    labels = toy.labelled(toy.instructions(60))
    DPO(**OFFLINE, tokens_per_batch=150).fit(start, Inputs(judgments=labels), context)  # type: ignore[arg-type]


def kto(start: PolicyRef, context: Context) -> None:
    """Some steps, each with a reference point of its whole batch."""
    labels = toy.labelled(toy.instructions(60))
    KTO(**{**OFFLINE, "max_steps": 6}).fit(start, Inputs(judgments=labels), context)  # type: ignore[arg-type]


def sft(start: PolicyRef, context: Context) -> None:
    """Some steps of TRL's trainer, parts of which know 32 bits only."""
    SFT(**{**OFFLINE, "max_steps": 6}).fit(
        start, Inputs(demonstrations=toy.instructions(60)), context
    )  # type: ignore[arg-type]


def continual_pretraining(start: PolicyRef, context: Context) -> None:
    """Some steps on a redrawn mixture."""
    asked = toy.instructions(60)
    ContinualPretraining(
        **{**OFFLINE, "max_steps": 6}, corpus=RedrawnMixture(original_share=0.5)
    ).fit(start, Inputs(text=[i.messages[0].content for i in asked], demonstrations=asked), context)  # type: ignore[arg-type]


def reward(start: PolicyRef, context: Context) -> None:
    """Some steps, and held-out labels."""
    labels = toy.labelled(toy.instructions(60))
    BradleyTerry(**{**OFFLINE, "max_steps": 6}, validation_fraction=0.2).fit(start, labels, context)  # type: ignore[arg-type]


_OTHER: dict[type[Ranks], Callable[[], Ranks]] = {
    Alone: Alone, Group: ShardingGroup, ShardingGroup: Group,
}  # fmt: skip


class Interrupted(Exception):
    """In place of a kill: all ranks stop at the same step."""


def continued(program: Callable[[PolicyRef, Context], None]) -> Callable[..., None]:
    """The program with adapters, stopped in its fifth step and begun again from the state after its
    fourth, which ranks that hold weights in the other way have left."""

    def stop(step: int, *_: object) -> None:
        if step == 5:
            raise Interrupted

    def run(start: PolicyRef, context: Context) -> None:
        adapters = replace(context, tuning=LoRA(rank=4, alpha=8))
        other = _OTHER[type(context.ranks)]()
        with suppress(Interrupted):
            program(start, replace(adapters, ranks=other, on_progress=stop))
        program(start, adapters)

    run.__name__ = f"{program.__name__}_continued"
    return run


def short_ppo(start: PolicyRef, context: Context) -> None:
    """A few steps, held to the start inside the model."""
    _ppo(
        start, context, steps=7, episodes_per_step=16, minibatch_size=8, epochs=1, resume_every=2
    )  # fmt: skip


def short_dpo(start: PolicyRef, context: Context) -> None:
    """A few steps of transformers' loop."""
    labels = toy.labelled(toy.instructions(60))
    learner = DPO(**{**OFFLINE, "max_steps": 7}, resume_every=2)  # type: ignore[arg-type]
    learner.fit(start, Inputs(judgments=labels), context)


def in_turns(program: Callable[[PolicyRef, Context], None]) -> Callable[..., None]:
    """The program, one block learning at a time."""

    def run(start: PolicyRef, context: Context) -> None:
        program(start, replace(context, tuning=LISA(blocks=1, every=2)))

    run.__name__ = f"{program.__name__}_in_turns"
    return run


PROGRAMS: tuple[Callable[[PolicyRef, Context], None], ...] = (
    sft, in_turns(sft), ppo, dpo, kto, reward, continual_pretraining,
    continued(short_ppo), continued(short_dpo), in_turns(short_ppo),
)  # fmt: skip
PLAINLY = (ppo, dpo, kto, reward)


def in_float64() -> None:
    """All arithmetic of this process in 64 bits: what is left between two ways of adding up is not
    rounding."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    for function in (load.load_policy, load.load_reward_model):
        (name, *rest) = function.__defaults__  # type: ignore[misc]
        function.__defaults__ = (name, torch.float64, *rest[1:])


def train_plainly(rank: int, start: str, work: Path) -> None:
    """Those of `PLAINLY` without any short cut: padded rows, every layer at every position, rows
    that have ended stay in the batch."""
    load.allow_packing = lambda model: model
    for module in (logprobs, answer_scores):
        module.last_feed_forward_at = lambda positions_N, model: nullcontext()  # type: ignore[attr-defined]
    batch.COMPACT_BELOW = 0.0
    train_all(rank, 1, start, work, programs=PLAINLY)


def train_all(
    rank: int,
    count: int,
    start: str,
    work: Path,
    group: type[Group] = Group,
    programs: Sequence[Callable[[PolicyRef, Context], None]] = PROGRAMS,
) -> None:
    """The programs, one after the other, as one of `count` ranks."""
    torch.set_num_threads(1)
    ranks = _ranks(rank, count, work, group)
    policy = PolicyRef(start, Decoding(1.0, toy.LIMITS["max_new_tokens"]))
    for program in programs:
        if "sft" not in program.__name__:
            in_float64()
        folder = work / program.__name__
        folder.mkdir(exist_ok=True)
        kind = Context if rank == 0 else Follower
        program(policy, kind(seed=3, work=folder, tuning=Full(), ranks=ranks))


def exchange(rank: int, count: int, work: Path) -> None:
    """What a rank holds after each exchange, in a file of its own."""
    ranks = _ranks(rank, count, work)
    words = ["a", "b", "c", "d", "e", "f", "g"]
    mine = ranks.share(words)
    tensors = [torch.full((2, 3), float(rank + 1)), torch.tensor(rank + 1)]
    ranks.add(tensors)
    asked: list[int] = []

    def ask() -> dict[str, object]:
        asked.append(rank)
        return {"inside": ranks.gather(ranks.share(words)), "nested": ranks.once(lambda: rank)}

    layer = torch.nn.Linear(6, 6, bias=False)
    torch.nn.init.constant_(layer.weight, 2.0)
    held = ShardingGroup().hold({"layer": layer})
    held.compute(lambda: layer(torch.full((1, 6), rank + 1.0)).sum()).backward()
    shard: Any = layer.weight
    parts = {
        "held": shard.to_local().numel(),
        "gradients": shard.grad.full_tensor().unique().tolist(),
        "gathered": held.gathered({"weight": shard, "step": 3}),
        "rounds": [part.counts for part in held.rounds([[row] for row in range(rank)], 7)],
    }
    with held.whole():
        parts["whole"] = layer.weight.numel()
    found = {
        "parts": {**parts, "gathered": str(parts["gathered"]["weight"] is not None)},
        "mine": mine,
        "gathered": ranks.gather([word.upper() for word in mine]),
        "none": ranks.gather(ranks.share([])),
        "sums": [tensor.tolist() for tensor in tensors],
        "once": ranks.once(ask),
        "asked": asked,
    }
    (work / f"{rank}.json").write_text(json.dumps(found))


def _ranks(rank: int, count: int, work: Path, group: type[Group] = Group) -> Ranks:
    if count == 1:
        return Alone()
    distributed.init_process_group(
        "gloo", init_method=f"file://{work}/meeting", rank=rank, world_size=count
    )
    import os

    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
    }  # fmt: skip
    return group()
