"""The start policy that a learner is held to, as long as it learns."""

from typing import Any

import torch

from farm.generation.logprobs import Prediction, ResponseBatch, predict


class Anchor:
    """The start, frozen: a copy of its own beside the model that learns."""

    def __init__(self, path: str, device: str) -> None:
        from farm.models.load import load_policy

        self._model: Any = load_policy(path, device).requires_grad_(False)

    def predict(self, batch: ResponseBatch) -> Prediction:
        """What the start computes where answer tokens are predicted; no gradients."""
        with torch.no_grad():
            return predict(self._model, batch)
