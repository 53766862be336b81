"""Answers that a policy has just given, and what it and its start say about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from farm.generation.engines import Engine
from farm.generation.logprobs import (
    Prediction,
    ResponseBatch,
    by_rows,
    divergence,
    predict,
    response_batch,
    token_logprobs,
)
from farm.generation.moved import Asked
from farm.seeds import generator
from farm.training.advantages import masked_mean
from farm.training.answer_logprobs import entropy
from farm.training.batches import length_batches
from farm.training.holding import Holding
from farm.training.ranks import Ranks

if TYPE_CHECKING:
    from farm.context import Context

PerToken = Callable[[ResponseBatch, Prediction], Tensor]
"""A figure for each of a batch's answer tokens, [N]."""


class Predictor(Protocol):
    """A frozen policy; see `farm.training.anchor`."""

    def predict(self, batch: ResponseBatch) -> Prediction:
        """What it computes where answer tokens are predicted."""
        ...


@dataclass(frozen=True)
class Episodes:
    """Answers that an engine drew from the current policy at temperature 1 with full support."""

    prompts: list[list[int]]
    responses: list[list[int]]
    mask_B_T: Tensor
    """bool; true on the answers' tokens, the stop id included."""
    stopped_B: Tensor
    """bool."""
    engine_logprobs_B_T: Tensor
    """float32, nats, by the engine's own account; 0 outside the mask. The trainer's, of the same
    weights, differ by rounding and by the engine's number format."""

    def lengths(self) -> list[int]:
        """Tokens of prompt and answer."""
        return [len(p) + len(r) for p, r in zip(self.prompts, self.responses, strict=True)]

    def batch(self, model: Any, rows: Sequence[int]) -> ResponseBatch:
        """Some of the answers, for one forward pass."""
        return response_batch(
            model, [self.prompts[row] for row in rows], [self.responses[row] for row in rows]
        )

    def take(self, rows: Sequence[int]) -> "Episodes":
        """Some of them."""
        return Episodes(
            [self.prompts[row] for row in rows],
            [self.responses[row] for row in rows],
            self.mask_B_T[list(rows)],
            self.stopped_B[list(rows)],
            self.engine_logprobs_B_T[list(rows)],
        )


class Observed(NamedTuple):
    """What the policies say about the answers' tokens before an update; float32 [B, T], 0 outside
    the mask."""

    logprobs_B_T: Tensor
    start_logprobs_B_T: Tensor
    kl_B_T: Tensor
    """Exact KL(policy || start) at each token, nats."""
    entropy_B_T: Tensor
    """Of the policy at each token, nats."""
    others_K_B_T: Tensor
    """What else was asked for."""


def draw(seed: int, population: int, begin: int, count: int) -> list[int]:
    """Indices `begin` to `begin + count` of an endless stream of shuffled passes."""
    first, last = begin // population, (begin + count - 1) // population
    passes = [generator(seed, "prompts", p).permutation(population) for p in range(first, last + 1)]
    chosen: list[int] = np.concatenate(passes)[begin - first * population :][:count].tolist()
    return chosen


def rollout(model: Any, engine: Engine, asked: Asked, context: "Context", **how: Any) -> Episodes:
    """One answer per prompt at temperature 1; `how` are the other keywords of
    `farm.generation.decode.decode`."""
    found = engine.answers(model, asked, {**how, "temperature": 1.0}, context)
    lengths_B = torch.tensor([len(answer.ids) for answer in found])
    mask_B_T = torch.arange(int(lengths_B.max())) < lengths_B[:, None]
    engine_logprobs_B_T = torch.zeros(mask_B_T.shape)
    engine_logprobs_B_T[mask_B_T] = torch.tensor([p for answer in found for p in answer.logprobs])
    stopped_B = torch.tensor([answer.stopped for answer in found])
    return Episodes(
        asked.prompts,
        [answer.ids for answer in found],
        mask_B_T.to(model.device),
        stopped_B.to(model.device),
        engine_logprobs_B_T.to(model.device),
    )


def observe(
    model: Any,
    anchor: Predictor,
    episodes: Episodes,
    holding: Holding,
    ranks: Ranks,
    *,
    tokens_per_batch: int,
    others: Sequence[PerToken] = (),
) -> Observed:
    """One pass over the answers, shared among the ranks. Old log-probabilities are taken here
    rather than from sampling, so that an update's first ratio is 1 whatever engine sampled."""
    shape = (4 + len(others), *episodes.mask_B_T.shape)
    found = torch.zeros(*shape, device=model.device)
    lengths = episodes.lengths()
    mine = ranks.share(sorted(range(len(lengths)), key=lengths.__getitem__))
    parts = length_batches([lengths[row] for row in mine], tokens_per_batch)

    def look(batch: ResponseBatch) -> Tensor:
        ours, theirs = predict(model, batch), anchor.predict(batch)
        return torch.stack([
            token_logprobs(ours.logits_N_V, batch.tokens_N),
            token_logprobs(theirs.logits_N_V, batch.tokens_N),
            by_rows(divergence, ours.logits_N_V, theirs.logits_N_V),
            by_rows(entropy, ours.logits_N_V),
            *(other(batch, ours) for other in others),
        ])  # fmt: skip

    with torch.no_grad():
        for part in holding.rounds([[mine[i] for i in rows] for rows in parts], spare=0):
            figures_K_N = holding.compute(partial(look, episodes.batch(model, part.rows)))
            if part.counts:
                place(found, part.rows, episodes.mask_B_T, figures_K_N)
    ranks.add([found])  # where a rank did not look, it has zeros
    return Observed(found[0], found[1], found[2], found[3], found[4:])


def place(target_K_B_T: Tensor, rows: Sequence[int], mask_B_T: Tensor, found_K_N: Tensor) -> None:
    """Write the tokens' figures, row after row, to where the rows' mask is true."""
    part_K_b_T = torch.zeros_like(target_K_B_T[:, : len(rows)])
    part_K_b_T[:, mask_B_T[rows]] = found_K_N
    target_K_B_T[:, rows] = part_K_b_T


def log_ratios(episodes: Episodes, observed: Observed) -> Tensor:
    """log pi - log pi_engine [B, T], 0 outside the mask: what the trainer and the engine make of
    the same weights."""
    return observed.logprobs_B_T - episodes.engine_logprobs_B_T


def describe(episodes: Episodes, observed: Observed) -> dict[str, float]:
    """A step's answers in numbers: kl_to_start (nats per answer, exact per token), entropy (nats
    per token), length (tokens), stopped (share).

    And how far the engine is from the trainer: engine_gap and engine_gap_max, of
    |log pi - log pi_engine| over tokens, and engine_kl, KL(pi_engine || pi) in nats per token,
    estimated by r - 1 - log r with r = pi / pi_engine (Schulman 2020,
    joschu.net/blog/kl-approx.html).
    """
    mask = episodes.mask_B_T
    log_ratio_N = log_ratios(episodes, observed)[mask]
    return {
        "kl_to_start": float(observed.kl_B_T.sum(1).mean()),
        "entropy": float(masked_mean(observed.entropy_B_T, mask)),
        "length": float(mask.sum(1).float().mean()),
        "stopped": float(episodes.stopped_B.float().mean()),
        "engine_gap": float(log_ratio_N.abs().mean()),
        "engine_gap_max": float(log_ratio_N.abs().max()),
        "engine_kl": float((log_ratio_N.expm1() - log_ratio_N).mean()),
    }
