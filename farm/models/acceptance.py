"""SpecDec++'s acceptance head (arXiv 2405.19715): will the policy accept a draft's token?"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

_SIZES, _WEIGHTS = "head.json", "head.safetensors"


class AcceptanceHead(nn.Module):
    """`depth` residual blocks x + SiLU(W x + b) and a linear layer to the logits (rejected,
    accepted), on the draft's last hidden state where it reads the token in question.

    Every block has weights of its own, as in the paper's text. (In the authors' code one block is
    entered into the list `depth` times, so that all share theirs.) Blocks start as SiLU(0) = 0,
    the identity, and the output layer as 1/2 for both.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.sizes = {"width": width, "depth": depth}
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.output = nn.Linear(width, 2)
        for layer in (*self.blocks, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def log_odds(self, hidden_N_D: Tensor) -> Tensor:
        """Of acceptance [N]."""
        x_N_D = hidden_N_D.float()
        for block in self.blocks:
            x_N_D = x_N_D + functional.silu(block(x_N_D))
        logits_N_2: Tensor = self.output(x_N_D)
        return logits_N_2[:, 1] - logits_N_2[:, 0]

    def forward(self, hidden_N_D: Tensor) -> Tensor:
        """P(accepted) [N]."""
        return torch.sigmoid(self.log_odds(hidden_N_D))


def save_head(head: AcceptanceHead, folder: Path) -> None:
    """Weights and sizes; `folder` is fresh."""
    folder.mkdir(parents=True)
    (folder / _SIZES).write_text(json.dumps(head.sizes))
    save_file(head.state_dict(), folder / _WEIGHTS)


def load_head(folder: str | Path, device: str = "cpu") -> AcceptanceHead:
    """For inference."""
    head = AcceptanceHead(**json.loads((Path(folder) / _SIZES).read_text()))
    head.load_state_dict(load_file(Path(folder) / _WEIGHTS, device=device))
    return head.to(device).eval().requires_grad_(False)
