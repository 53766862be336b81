"""Extrapolation of what training did to a model (ExPO: Zheng et al. 2024, arXiv 2404.16792)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def extrapolated(trained: str | Path, initial: str | Path, alpha: float, device: str) -> Any:
    """The reward model with weights trained + alpha (trained - initial), of two directories."""
    import torch

    from farm.models.load import load_reward_model

    model = load_reward_model(trained, device, outputs=None)
    start = load_reward_model(initial, device, outputs=None)
    with torch.no_grad():
        for weight, before in zip(model.parameters(), start.parameters(), strict=True):
            weight.add_(weight - before, alpha=alpha)
    return model


def best_alpha(accuracies: Mapping[float, float]) -> float:
    """The alpha with the highest accuracy; of several the least extrapolation."""
    return min(accuracies, key=lambda alpha: (-accuracies[alpha], alpha))
