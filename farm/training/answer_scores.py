"""Scores of whole answers by a model with a head, with gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from farm.models.packing import last_feed_forward_at, packed_inputs, packs
from farm.training.batches import padded_ids


def answer_scores(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """The head's outputs at the rows' last tokens, float32 [B, outputs]; rows are token ids:
    prompt, answer, end id. One forward pass."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # similar rows pack best
    lengths = np.array([len(rows[i]) for i in order])
    if packs(model):
        inputs = packed_inputs([rows[i] for i in order], model.device)
        last = lengths.cumsum() - 1
    else:
        ids_B_L = padded_ids([rows[i] for i in order], fill=0)
        inputs = {"input_ids": torch.from_numpy(ids_B_L).to(model.device)}
        last = np.arange(len(rows)) * ids_B_L.shape[1] + lengths - 1
    last_B = torch.from_numpy(last).to(model.device)
    trunk = model.base_model
    with last_feed_forward_at(last_B, trunk):
        hidden_B_L_D = trunk(**inputs, use_cache=False).last_hidden_state
    scores_B_K = model.score(hidden_B_L_D.flatten(0, 1)[last_B]).float()
    return torch.empty_like(scores_B_K).index_copy(
        0, torch.tensor(order, device=scores_B_K.device), scores_B_K
    )
