"""The start policy that a learner is held to, as long as it learns."""

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from farm.generation.logprobs import Prediction, ResponseBatch, predict
from farm.models.adapters import without_adapters

if TYPE_CHECKING:
    from farm.training.ranks import Ranks


class Anchor:
    """The start, frozen: a copy of its own beside the model that learns, held by all ranks."""

    def __init__(self, path: str, device: str, ranks: "Ranks") -> None:
        from farm.models.load import load_policy

        self._model: Any = load_policy(path, device).requires_grad_(False)
        self._holding = ranks.hold({"anchor": self._model})

    def predict(self, batch: ResponseBatch) -> Prediction:
        """What the start computes where answer tokens are predicted; no gradients. All ranks call
        it at the same time."""
        with torch.no_grad():
            return self._holding.compute(partial(predict, self._model, batch))


class AdapterOff:
    """The start inside the model that learns: what that computes without its adapters."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, batch: ResponseBatch) -> Prediction:
        """As `Anchor.predict`; the model's gradients and graphs are left alone."""
        with torch.no_grad(), without_adapters(self._model):
            return predict(self._model, batch)
