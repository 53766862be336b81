"""Log-probabilities of given answers, and the exact divergence between two policies on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from farm.models.packing import last_feed_forward_at, packed_inputs, packs
from farm.protocols import FloatArray
from farm.training.batches import length_batches, padded_ids

Ids = Sequence[int]

_FLOAT32_AT_A_TIME = 2**25
"""Numbers of [N, V] in float32: 128 MiB."""


@dataclass(frozen=True)
class ResponseBatch:
    """Prompts with their answers behind them, as a model takes them: packed, or padded."""

    inputs: Mapping[str, Any]
    """A model's keywords: `input_ids`, int64 [1, N'] packed or [B, L] padded, and what goes with
    it."""
    positions_N: Tensor
    """int64 indices into the flattened `input_ids`: where each answer token is predicted."""
    tokens_N: Tensor
    """int64: the answers' tokens, row after row."""


class Prediction(NamedTuple):
    """What a causal LM computes where answer tokens are predicted."""

    hidden_N_D: Tensor
    """What goes into the output layer."""
    logits_N_V: Tensor


def response_batch(model: Any, prompts: Sequence[Ids], responses: Sequence[Ids]) -> ResponseBatch:
    """The batch of aligned prompts and answers (token ids, none of them empty), for this model:
    packed where it can be, see `farm.models.packing`."""
    rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    lengths = [len(row) for row in rows]
    if packs(model):
        inputs = packed_inputs(rows, model.device)
        begins = np.cumsum([0, *lengths[:-1]])
    else:
        inputs = {"input_ids": torch.from_numpy(padded_ids(rows, fill=0)).to(model.device)}
        begins = np.arange(len(rows)) * max(lengths)
    positions_N = np.concatenate([
        np.arange(begin + len(prompt) - 1, begin + length - 1)
        for begin, prompt, length in zip(begins, prompts, lengths, strict=True)
    ])  # fmt: skip
    return ResponseBatch(
        inputs,
        torch.from_numpy(positions_N).to(model.device),
        torch.tensor([id for response in responses for id in response], device=model.device),
    )


def predict(model: Any, batch: ResponseBatch) -> Prediction:
    """Run a causal LM, with its output layer and the feed-forward part of its last block applied
    only where answer tokens are predicted.

    The rest of the model's own forward (soft-capped or scaled logits, adapters) stays in force,
    because the positions are picked by hooks before these layers.
    """
    hidden_N_D: Tensor | None = None

    def pick(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        nonlocal hidden_N_D
        hidden_N_D = inputs[0].flatten(0, 1)[batch.positions_N]
        return (hidden_N_D[None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        with last_feed_forward_at(batch.positions_N, model):
            logits_1_N_V = model(**batch.inputs, use_cache=False).logits
    finally:
        hook.remove()
    assert hidden_N_D is not None
    return Prediction(hidden_N_D, logits_1_N_V[0])


def token_logprobs(logits_N_V: Tensor, tokens_N: Tensor) -> Tensor:
    """log softmax at the tokens, float32 [N]; nothing of size [N, V] is made on the way, and on the
    way back the logits' gradient alone."""
    found_N: Tensor = _TokenLogprobs.apply(logits_N_V, tokens_N)  # type: ignore[no-untyped-call]
    return found_N


class _TokenLogprobs(torch.autograd.Function):
    """d log p(token) / d logits = [token] - softmax(logits), a few rows at a time."""

    @staticmethod
    def forward(ctx: Any, logits_N_V: Tensor, tokens_N: Tensor) -> Tensor:
        parts = torch.split(logits_N_V, _rows_at_a_time(logits_N_V))
        logsumexp_N = torch.cat([part.float().logsumexp(-1) for part in parts])
        ctx.save_for_backward(logits_N_V, tokens_N, logsumexp_N)
        return logits_N_V.gather(-1, tokens_N[:, None])[:, 0].float() - logsumexp_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        logits_N_V, tokens_N, logsumexp_N = ctx.saved_tensors
        (gradient_N,) = gradients
        found_N_V = torch.empty_like(logits_N_V)
        size = _rows_at_a_time(logits_N_V)
        for begin in range(0, len(tokens_N), size):
            rows = slice(begin, begin + size)
            softmax_n_V = (logits_N_V[rows].float() - logsumexp_N[rows, None]).exp_()
            softmax_n_V.mul_(-gradient_N[rows, None])
            softmax_n_V.scatter_add_(-1, tokens_N[rows, None], gradient_N[rows, None])
            found_N_V[rows] = softmax_n_V
        return found_N_V, None


def _rows_at_a_time(logits_N_V: Tensor) -> int:
    return max(1, _FLOAT32_AT_A_TIME // logits_N_V.shape[-1])


def by_rows(figure: Callable[..., Tensor], *logits_N_V: Tensor) -> Tensor:
    """`figure(*logits)` [N], a few rows at a time: what it makes of size [N, V] never lies there
    whole. Not for gradients."""
    size = _rows_at_a_time(logits_N_V[0])
    parts = zip(*(torch.split(logits, size) for logits in logits_N_V), strict=True)
    return torch.cat([figure(*part) for part in parts])


def divergence(logits_N_V: Tensor, other_N_V: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(other)) [N] in nats, over the full vocabulary."""
    logprobs_N_V = logits_N_V.float().log_softmax(-1)
    other_N_V = other_N_V.float().log_softmax(-1)
    return (logprobs_N_V.exp() * (logprobs_N_V - other_N_V)).sum(-1)


def batches(
    model: Any, prompts: Sequence[Ids], responses: Sequence[Ids], tokens_per_batch: int
) -> Iterator[tuple[list[int], ResponseBatch]]:
    """(row numbers, their batch), rows of similar length together, every row once."""
    lengths = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    for rows in length_batches(lengths, tokens_per_batch):
        yield rows, response_batch(model, [prompts[i] for i in rows], [responses[i] for i in rows])


def answer_kl(
    policy: Any,
    start: Any,
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    *,
    tokens_per_batch: int = 8192,
) -> FloatArray:
    """KL(policy || start) in nats [B], exact per token and summed along each answer.

    Averaged over answers that the policy sampled at temperature 1, this is the Rao-Blackwellised
    estimate of the divergence per answer: unbiased, and less noisy than the log-ratio.
    """
    kl = np.empty(len(prompts))
    with torch.inference_mode():
        for rows, batch in batches(policy, prompts, responses, tokens_per_batch):
            ours, theirs = (predict(m, batch).logits_N_V for m in (policy, start))
            kl_N = by_rows(divergence, ours, theirs)
            parts = torch.split(kl_N, [len(responses[i]) for i in rows])
            kl[rows] = [float(part.double().sum()) for part in parts]
    return kl
