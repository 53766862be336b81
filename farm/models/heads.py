"""Value functions: one number for each position at which an answer's token is predicted."""

from typing import Any

import torch
from torch import Tensor, nn

from farm.generation.logprobs import Prediction, ResponseBatch


def zero_linear(width: int) -> nn.Linear:
    """A layer [width] -> [1] that starts as the constant 0."""
    layer = nn.Linear(width, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class TrunkHead(nn.Module):
    """A head on the policy's own hidden states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = zero_linear(width)

    def forward(self, batch: ResponseBatch, prediction: Prediction) -> Tensor:
        """Values [N]."""
        values_N: Tensor = self.head(prediction.hidden_N_D)[:, 0]
        return values_N.float()


class Critic(nn.Module):
    """A decoder of its own with a head."""

    def __init__(self, trunk: Any, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = zero_linear(width)

    def forward(self, batch: ResponseBatch, prediction: Prediction) -> Tensor:
        """Values [N]."""
        hidden_B_L_D = self.trunk(**batch.inputs, use_cache=False).last_hidden_state
        values_N: Tensor = self.head(hidden_B_L_D.flatten(0, 1)[batch.positions_N])[:, 0]
        return values_N.float()


def output_width(model: Any) -> int:
    """Width of the hidden states that go into a causal LM's output layer."""
    weight: torch.Tensor = model.get_output_embeddings().weight
    return weight.shape[-1]
