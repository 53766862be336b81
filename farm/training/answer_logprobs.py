"""Log-probabilities of whole answers, for losses that compare answers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from farm.generation.logprobs import (
    batches,
    by_rows,
    predict,
    response_batch,
    token_logprobs,
)
from farm.training.preferences import PairRows
from farm.training.ranks import Ranks

Ids = Sequence[int]


class AnswerLogprobs(NamedTuple):
    """What a policy says of some answers."""

    sums_B: Tensor
    """log pi(answer | prompt), nats: the sum over its tokens and its end id."""
    tokens_B: Tensor
    """How many tokens these are."""
    entropies_N: Tensor
    """Of the policy at each of the answers' tokens, nats; detached."""


def answer_logprobs(model: Any, prompts: Sequence[Ids], responses: Sequence[Ids]) -> AnswerLogprobs:
    """One forward pass over aligned prompts and answers (token ids, none of them empty)."""
    sizes = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    order = sorted(range(len(sizes)), key=sizes.__getitem__)  # similar rows pack best
    batch = response_batch(model, [prompts[i] for i in order], [responses[i] for i in order])
    logits_N_V = predict(model, batch).logits_N_V
    tokens_B = torch.tensor([len(responses[i]) for i in order], device=logits_N_V.device)
    rows_N = torch.repeat_interleave(torch.tensor(order, device=logits_N_V.device), tokens_B)
    sums_B = torch.zeros(len(order), device=logits_N_V.device)
    sums_B = sums_B.index_add(0, rows_N, token_logprobs(logits_N_V, batch.tokens_N))
    return AnswerLogprobs(
        sums_B,
        torch.empty_like(tokens_B).index_copy(0, torch.tensor(order).to(tokens_B), tokens_B),
        by_rows(entropy, logits_N_V.detach()),
    )


def entropy(logits_N_V: Tensor) -> Tensor:
    """Of softmax(logits), in nats [N]."""
    logprobs_N_V = logits_N_V.float().log_softmax(-1)
    return -(logprobs_N_V.exp() * logprobs_N_V).sum(-1)


def frozen_logprobs(
    model: Any, prompts: Sequence[Ids], responses: Sequence[Ids], *, tokens_per_batch: int
) -> Tensor:
    """log pi(answer | prompt) [rows], without gradients: computed once, before the model learns."""
    sums_N = torch.empty(len(prompts), device=model.device)
    with torch.no_grad():
        for rows, batch in batches(model, prompts, responses, tokens_per_batch):
            logprobs_n = token_logprobs(predict(model, batch).logits_N_V, batch.tokens_N)
            parts = torch.split(logprobs_n, [len(responses[i]) for i in rows])
            sums_N[rows] = torch.stack([part.sum() for part in parts])
    return sums_N


def frozen_pair_logprobs(
    model: Any, rows: PairRows, ranks: Ranks, *, tokens_per_batch: int
) -> Tensor:
    """`frozen_logprobs` of both answers of all pairs [2, rows], those of a first; the ranks share
    the pairs."""
    lengths = rows.lengths()
    mine = ranks.share(sorted(range(len(lengths)), key=lengths.__getitem__))
    some = rows.some(mine)
    found_2_N = torch.zeros(2, len(lengths), device=model.device)
    for found_N, answers in zip(found_2_N, (some.a, some.b), strict=True):
        found_N[mine] = frozen_logprobs(
            model, some.prompts, answers, tokens_per_batch=tokens_per_batch
        )
    ranks.add([found_2_N])  # where a rank did not look, it has zeros
    return found_2_N


class PairLogprobs(NamedTuple):
    """What a policy says of both answers of some pairs."""

    a_B: Tensor
    """Summed, nats."""
    b_B: Tensor
    a_tokens_B: Tensor
    b_tokens_B: Tensor
    preference_B: Tensor
    """P(b is better), from the labels."""
    entropies_N: Tensor


def pair_logprobs(model: Any, rows: PairRows, batch: Sequence[int]) -> PairLogprobs:
    """Both answers of the pairs with these numbers, in one forward pass."""
    prompts = [rows.prompts[i] for i in batch]
    answers = [*(rows.a[i] for i in batch), *(rows.b[i] for i in batch)]
    found = answer_logprobs(model, prompts * 2, answers)
    preference_B = torch.tensor([rows.preferences[i] for i in batch], device=found.sums_B.device)
    a_B, b_B = found.sums_B.chunk(2)
    a_tokens_B, b_tokens_B = found.tokens_B.chunk(2)
    return PairLogprobs(a_B, b_B, a_tokens_B, b_tokens_B, preference_B, found.entropies_N)
