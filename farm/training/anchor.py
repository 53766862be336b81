"""The start policy that a learner is held to, as long as it learns."""

from typing import Any

import torch

from farm.generation.logprobs import Prediction, ResponseBatch, predict
from farm.models.adapters import without_adapters


class Anchor:
    """The start, frozen: a copy of its own beside the model that learns."""

    def __init__(self, path: str, device: str) -> None:
        from farm.models.load import load_policy

        self._model: Any = load_policy(path, device).requires_grad_(False)

    def predict(self, batch: ResponseBatch) -> Prediction:
        """What the start computes where answer tokens are predicted; no gradients."""
        with torch.no_grad():
            return predict(self._model, batch)


class AdapterOff:
    """The start inside the model that learns: what that computes without its adapters."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, batch: ResponseBatch) -> Prediction:
        """As `Anchor.predict`; the model's gradients and graphs are left alone."""
        with torch.no_grad(), without_adapters(self._model):
            return predict(self._model, batch)
