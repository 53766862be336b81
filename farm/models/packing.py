"""What a forward pass need not compute: padding, and what nobody reads.

Rows are laid end to end in one sequence. Only attention must know where a row ends. It is
registered with transformers under a name of ours: given a `Packing`, it attends within rows,
padding short ones only to the longest of a small group; without one it is transformers' own `sdpa`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ATTENTION = "farm_packed"

_STRETCH = 1.4
"""A group's longest row is at most this many times its first: attention pads no more than that."""
_FULL = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Group:
    """Neighbouring rows of similar length."""

    tokens: int
    rows: int
    width: int
    """Of the longest row, in tokens."""
    slots_n: Tensor
    """int64: where each token lies in the padded group, flattened [rows * width]."""


Packing = tuple[Group, ...]
"""All rows of a sequence. Rows that come sorted by length make few groups."""


def packing(lengths: Sequence[int], device: torch.device | str = "cpu") -> Packing:
    """How rows of these lengths (in tokens, at least 1) lie behind each other."""
    groups = []
    for rows in _similar(lengths):
        width = max(rows)
        inside_R_W = torch.arange(width) < torch.tensor(rows)[:, None]
        slots_n = inside_R_W.flatten().nonzero()[:, 0].to(device)
        groups.append(Group(sum(rows), len(rows), width, slots_n))
    return tuple(groups)


def _similar(lengths: Sequence[int]) -> Iterator[list[int]]:
    group: list[int] = []
    for length in lengths:
        if group and not group[0] <= length <= _STRETCH * group[0]:
            yield group
            group = []
        group.append(length)
    if group:
        yield group


@torch.compiler.disable  # type: ignore[untyped-decorator] # shapes change with every batch
def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    **how: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: query, key, value [1, heads, N, dim] -> [1, N, heads, dim]."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packing is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **how
        )
        return found
    sizes = [group.tokens for group in packing]
    states = [torch.split(x[0].transpose(0, 1), sizes) for x in (query, key, value)]
    parts = []
    for group, *states_n_H_D in zip(packing, *states, strict=True):
        padded = (_pad(x_n_H_D, group) for x_n_H_D in states_n_H_D)
        mask = _window_mask(group.width, how.get("sliding_window"), query.device)
        out_R_W_H_D, _ = sdpa_attention_forward(module, *padded, mask, **how)
        parts.append(out_R_W_H_D.flatten(0, 1)[group.slots_n])
    return torch.cat(parts)[None], None


def _pad(states_n_H_D: Tensor, group: Group) -> Tensor:
    """The group's rows, [rows, heads, width, dim]."""
    heads, dim = states_n_H_D.shape[1:]
    padded = states_n_H_D.new_zeros(group.rows * group.width, heads, dim)
    padded = padded.index_copy(0, group.slots_n, states_n_H_D)
    return padded.view(group.rows, group.width, heads, dim).transpose(1, 2)


def _window_mask(width: int, window: int | None, device: torch.device) -> Tensor | None:
    """Where a layer attends, [1, 1, width, width]; None where it sees the whole past."""
    if window is None or width <= window:
        return None
    behind = torch.arange(width, device=device)[:, None] - torch.arange(width, device=device)
    return ((behind >= 0) & (behind < window))[None, None]


def allow_packing(model: Any) -> Any:
    """The model, with our attention where that is right for it; see `packs`.

    Whether it is right is tried out: two rows behind each other must look as they do alone.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, packed_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    layer_types = getattr(model.config.get_text_config(decoder=True), "layer_types", None)
    if model._supports_attention_backend and set(layer_types or ()) <= _FULL:
        model.set_attn_implementation(ATTENTION)
        if not _packs_rightly(model):
            model.set_attn_implementation("sdpa")
    return model


def packs(model: Any) -> bool:
    """Whether rows may lie behind each other in the model's input."""
    return bool(model.config._attn_implementation == ATTENTION)


def packed_inputs(rows: Sequence[Sequence[int]], device: torch.device | str) -> dict[str, Any]:
    """Keywords of a model that packs, for rows of token ids: one sequence, positions from 0 in
    each row, and a mask that is there so that none is made."""
    positions_N = torch.cat([torch.arange(len(row)) for row in rows])
    ids_N = torch.tensor([id for row in rows for id in row])
    return {
        "input_ids": ids_N[None].to(device),
        "position_ids": positions_N[None].to(device),
        "attention_mask": torch.zeros(1, 1, 1, 1, device=device),
        "packing": packing([len(row) for row in rows], device),
    }


def _packs_rightly(model: Any) -> bool:
    rows = [[1, 2, 3], [2, 1, 3, 2]]
    close = 1e-3 if model.dtype == torch.float32 else 5e-2
    trunk, device = model.base_model, model.device
    with torch.no_grad():
        together = trunk(**packed_inputs(rows, device)).last_hidden_state[0]
        each = [trunk(input_ids=torch.tensor([row], device=device)) for row in rows]
        alone = torch.cat([output.last_hidden_state[0] for output in each])
    return bool((together - alone).abs().max() < close * alone.std())


@contextmanager
def last_feed_forward_at(positions_N: Tensor, model: Any) -> Iterator[None]:
    """Within, the feed-forward part of the last block works at these positions of the flattened
    input alone; its output is 0 elsewhere, where only the output layer would have looked.

    Changes nothing for models whose blocks are built otherwise, and under gradient checkpointing,
    which runs the block again when this is over.
    """
    feed_forward = _last_feed_forward(model)
    if feed_forward is None or model.is_activation_checkpointing:
        yield
        return
    shape: list[int] = []

    def pick(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        shape[:] = inputs[0].shape
        return (inputs[0].flatten(0, 1)[positions_N],)

    def spread(module: Any, inputs: Any, output_N_D: Tensor) -> Tensor:
        flat = output_N_D.new_zeros(shape[0] * shape[1], shape[2])
        return flat.index_copy(0, positions_N, output_N_D).view(shape)

    hooks = feed_forward.register_forward_pre_hook(pick), feed_forward.register_forward_hook(spread)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _last_feed_forward(model: Any) -> Any:
    """A dense feed-forward module; None for mixtures of experts and blocks built otherwise."""
    blocks = getattr(model.get_decoder(), "layers", None)
    feed_forward = getattr(blocks[-1], "mlp", None) if blocks else None
    return feed_forward if hasattr(feed_forward, "down_proj") else None
