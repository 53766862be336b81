"""What training takes: floating-point operations of models, counted as they run, seconds, and bytes
of memory.

A forward pass over T tokens counts 2 T W operations, a multiplication and an addition for each of
the W weights of linear layers, the output layer included. Where it is learned from, the way back
counts 2 T W for the gradients of the layers' inputs and 2 T for each weight that learns: 6 T W in
all where all do (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).

Padding counts, since it is computed; so does a layer at the tokens where it was skipped because
nobody reads its output. Left out are attention scores, embeddings, norms, losses, optimisers, heads
beside a model (PPO's values), what gradient checkpointing computes again, and engines that load
models by themselves (vLLM).

Bytes are the most that a rank had at one time: of parameters, of gradients, of the optimiser's
state without its step counters, and of everything: of a GPU's memory, or resident in the process,
its libraries included.
"""

import json
import resource
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.artifacts import write_json

if TYPE_CHECKING:
    from torch import Tensor

_FILE = "spent-{rank}"
"""Not `.json`: those of a work folder are its learner's notes."""

BYTES = ("parameter_bytes", "gradient_bytes", "optimizer_bytes", "peak_bytes")

_SAVE_EVERY_S = 1.0
"""A kill loses no more than what was spent since."""


class Meter:
    """Adds up what a rank spends in a work folder, by calls that were interrupted too."""

    def __init__(self, work: Path, rank: int) -> None:
        self._path = work / _FILE.format(rank=rank)
        known = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._flops: int = known.get("flops", 0)
        self._before_s: float = known.get("wall_s", 0.0)
        self._bytes: dict[str, int] = {name: known[name] for name in BYTES if name in known}
        self._began = self._saved = time.monotonic()
        _forget_peak()

    @property
    def spent(self) -> dict[str, float]:
        """`flops`, a whole number, `wall_s` and, where something was weighed, `BYTES`."""
        wall_s = self._before_s + time.monotonic() - self._began
        return {"flops": self._flops, "wall_s": wall_s, **self._bytes}

    def add(self, flops: int) -> None:
        """Count operations."""
        self._flops += flops
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self.save()

    def weigh(self, parameters: "Sequence[Tensor]", optimizer: Any) -> None:
        """Look at what is there between an optimiser's step and the end of its gradients."""
        states = [
            value
            for state in optimizer.state.values()
            for name, value in state.items()
            if name != "step"
        ]
        gradients = [p.grad for p in parameters if p.grad is not None]
        found = (_bytes(parameters), _bytes(gradients), _bytes(states), _peak_bytes())
        for name, most in zip(BYTES, found, strict=True):
            self._bytes[name] = max(self._bytes.get(name, 0), most)

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


def weigh(parameters: "Sequence[Tensor]", optimizer: Any) -> None:
    """As `Meter.weigh`, where something is metered."""
    meter = _meter.get()
    if meter is not None:
        meter.weigh(parameters, optimizer)


def _bytes(tensors: "Sequence[Any]") -> int:
    """Of this rank's parts, where tensors are sharded."""
    mine = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    return sum(tensor.nbytes for tensor in mine)


def _forget_peak() -> None:
    """Peaks count from here on; where the system does not let us, from the process's beginning."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident size


def _peak_bytes() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def spent(work: Path) -> dict[str, float]:
    """What was metered in a work folder: `flops` of all ranks, a whole number, `wall_s` of the one
    that took longest, and `BYTES`, each of the rank that had most."""
    parts = [json.loads(path.read_text()) for path in work.glob(_FILE.format(rank="*"))]
    return {
        "flops": sum(part["flops"] for part in parts),
        "wall_s": max(part["wall_s"] for part in parts),
        **{name: max(part[name] for part in parts) for name in BYTES if name in parts[0]},
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


def count_replayed(model: Any, tokens: int) -> None:
    """Count forward passes that ran without the model's own hooks, as a captured graph does."""
    meter = _meter.get()
    if meter is not None:
        meter.add(_flops(_linear_weights(model), tokens, learning=False))


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
