"""What training takes: floating-point operations of models, counted as they run, and seconds.

A forward pass over T tokens counts 2 T W operations, a multiplication and an addition for each of
the W weights of linear layers, the output layer included. Where it is learned from, the way back
counts 2 T W for the gradients of the layers' inputs and 2 T for each weight that learns: 6 T W in
all where all do (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).

Padding counts, since it is computed; so does a layer at the tokens where it was skipped because
nobody reads its output. Left out are attention scores, embeddings, norms, losses, optimisers, heads
beside a model (PPO's values), what gradient checkpointing computes again, and engines that load
models by themselves (vLLM).
"""

import json
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.artifacts import write_json

if TYPE_CHECKING:
    from torch import Tensor

_FILE = "spent-{rank}"
"""Not `.json`: those of a work folder are its learner's notes."""

_SAVE_EVERY_S = 1.0
"""A kill loses no more than what was spent since."""


class Meter:
    """Adds up what a rank spends in a work folder, by calls that were interrupted too."""

    def __init__(self, work: Path, rank: int) -> None:
        self._path = work / _FILE.format(rank=rank)
        known = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._flops: int = known.get("flops", 0)
        self._before_s: float = known.get("wall_s", 0.0)
        self._began = self._saved = time.monotonic()

    @property
    def spent(self) -> dict[str, float]:
        """`flops`, a whole number, and `wall_s`."""
        return {"flops": self._flops, "wall_s": self._before_s + time.monotonic() - self._began}

    def add(self, flops: int) -> None:
        """Count operations."""
        self._flops += flops
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write down what has been spent so far."""
        self._saved = time.monotonic()
        write_json(self._path, self.spent)


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metering(work: Path, rank: int = 0) -> Iterator[Meter]:
    """Within, passes of `metered` models are counted, on top of what was spent in `work` before."""
    meter = Meter(work, rank)
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)
        meter.save()


def spent(work: Path) -> dict[str, float]:
    """What was metered in a work folder: `flops` of all ranks, a whole number, and `wall_s` of the
    one that took longest."""
    parts = [json.loads(path.read_text()) for path in work.glob(_FILE.format(rank="*"))]
    return {
        "flops": sum(part["flops"] for part in parts),
        "wall_s": max(part["wall_s"] for part in parts),
    }


def metered(model: Any) -> Any:
    """The model, whose passes count from now on, also those that go through its trunk alone."""
    import torch

    whole = weakref.ref(model)  # whoever keeps the trunk alone shall not keep the rest
    weights: list[Tensor] = []

    def count(trunk: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        meter = _meter.get()
        if meter is None:
            return
        learning = torch.is_grad_enabled()
        if learning or not weights:  # adapters may have come, layers may have been frozen
            weights[:] = _linear_weights(whole() or trunk)
        meter.add(_flops(weights, _tokens(args, kwargs), learning=learning))

    model.base_model.register_forward_pre_hook(count, with_kwargs=True)
    return model


def _linear_weights(model: Any) -> list["Tensor"]:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return [part.weight for part in model.modules() if isinstance(part, Linear | Conv1D)]


def _tokens(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    ids = args[0] if args else kwargs.get("input_ids")
    return int(kwargs["inputs_embeds"][..., 0].numel() if ids is None else ids.numel())


def _flops(weights: list["Tensor"], tokens: int, *, learning: bool) -> int:
    everything = sum(weight.numel() for weight in weights)
    trained = sum(weight.numel() for weight in weights if weight.requires_grad) if learning else 0
    return 2 * tokens * (everything + (everything + trained if trained else 0))
