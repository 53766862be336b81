"""How ranks hold the weights of what they train together: each all of them, or each a part.

Whatever is held is trained by `compute` and `add_gradients`; what reads weights otherwise (drawing
answers, looking at them, saving) happens within `whole`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from farm.models.blocks import transformer_blocks
from farm.training.ranks import Ranks

T = TypeVar("T")


class Round(NamedTuple):
    """One pass forwards and backwards."""

    rows: list[int]
    counts: bool
    """False for a pass that only keeps the other ranks company."""


class Holding(Protocol):
    """Some modules, held by all ranks."""

    reduces: bool
    """Whether a backward pass adds gradients up over the ranks by itself."""

    def compute(self, work: Callable[[], T]) -> T:
        """What `work` returns, whose tensors gradients can be asked of. All ranks call it at the
        same time."""
        ...

    def rounds(self, parts: Sequence[list[int]], spare: int) -> list[Round]:
        """The passes that this rank's parts of a batch take; `spare` is a row for passes that do
        not count."""
        ...

    def add_gradients(self) -> None:
        """Make the gradients the sums over all ranks; one that had no row to learn from adds
        zeros."""
        ...

    def whole(self) -> AbstractContextManager[None]:
        """Within, the modules' parameters are there, all of them, to be read."""
        ...

    def gathered(self, state: Any) -> Any:
        """A nested state with its tensors whole, on rank 0; of parameters or an optimiser's."""
        ...

    def restore(self, state: Mapping[str, Mapping[str, Any]], optimizer: Any) -> None:
        """Take over what `state` says of the modules, by name, and of the `optimizer`."""
        ...

    def restore_optimizer(self, state: Mapping[str, Any], optimizer: Any) -> None:
        """Of the optimiser alone."""
        ...

    def end(self) -> None:
        """Nothing learns any more: leave the modules with all their weights on every rank."""
        ...


class Copies:
    """Every rank holds all weights; they stay alike, since all move along the same gradients."""

    reduces = False

    def __init__(self, modules: Mapping[str, Any], ranks: Ranks) -> None:
        self._modules, self._ranks = modules, ranks

    def compute(self, work: Callable[[], T]) -> T:
        """Done at once."""
        return work()

    def rounds(self, parts: Sequence[list[int]], spare: int) -> list[Round]:
        """No rank waits for the others' passes."""
        return [Round(part, counts=True) for part in parts]

    def add_gradients(self) -> None:
        """By hand."""
        if self._ranks.count == 1:
            return
        learning = [p for m in self._modules.values() for p in m.parameters() if p.requires_grad]
        for parameter in learning:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._ranks.add([parameter.grad for parameter in learning])

    def whole(self) -> AbstractContextManager[None]:
        """They always are."""
        return nullcontext()

    def gathered(self, state: Any) -> Any:
        """As it is."""
        return state

    def restore(self, state: Mapping[str, Mapping[str, Any]], optimizer: Any) -> None:
        """By name."""
        for name, module in self._modules.items():
            module.load_state_dict(state[name])
        self.restore_optimizer(state["optimizer"], optimizer)

    def restore_optimizer(self, state: Mapping[str, Any], optimizer: Any) -> None:
        """As torch does."""
        optimizer.load_state_dict(state)

    def end(self) -> None:
        """They have them."""


class _Root(nn.Module):
    """What FSDP hangs its hooks on: whatever is computed with the parts is computed in here."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


class Shards:
    """Every rank holds its part of each weight, gradient and optimiser state, by torch's
    `fully_shard` (FSDP2; Zhao et al. 2023, arXiv 2304.11277): a transformer block's weights are
    gathered when it computes and let go afterwards; embeddings, norms and heads together.

    `divide_by`: gradients are sums over the ranks, over this number.
    """

    reduces = True

    def __init__(self, modules: Mapping[str, Any], ranks: Ranks, divide_by: float) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        device = next(p for m in modules.values() for p in m.parameters()).device
        mesh = init_device_mesh(device.type, (ranks.count,))
        self._modules, self._ranks = modules, ranks
        for module in modules.values():
            for block in transformer_blocks(module):
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
        self._root: Any = _Root(modules)
        fully_shard(self._root, mesh=mesh, reshard_after_forward=True)
        units: list[Any] = [unit for unit in self._root.modules() if isinstance(unit, FSDPModule)]
        self._units = units
        for unit in self._units:
            unit.set_gradient_divide_factor(divide_by)
            unit.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        with torch.no_grad():  # the first pass makes this the root of all units
            self._root(lambda: None)

    def compute(self, work: Callable[[], T]) -> T:
        """Weights are gathered as they are needed."""
        found: T = self._root(work)
        return found

    def rounds(self, parts: Sequence[list[int]], spare: int) -> list[Round]:
        """As many for every rank, since each pass gathers weights from all."""
        most = max(self._ranks.gather([len(parts)]))
        mine = [Round(part, counts=True) for part in parts]
        return mine + [Round([spare], counts=False)] * (most - len(parts))

    def add_gradients(self) -> None:
        """The backward pass has."""

    @contextmanager
    def whole(self) -> Iterator[None]:
        """For as long, each rank has memory for all weights."""
        self._gather()
        try:
            yield
        finally:
            for unit in self._units:
                unit.reshard()
                unit.set_reshard_after_forward(True)

    def _gather(self) -> None:
        for unit in self._units:
            unit.set_reshard_after_forward(False)
            unit.unshard()

    def gathered(self, state: Any) -> Any:
        """Tensor by tensor; ranks but 0 keep nothing."""

        def whole(value: Any) -> Any:
            full = value.full_tensor() if _is_shard(value) else value
            mine = self._ranks.rank == 0 or not isinstance(full, Tensor)
            return full.cpu() if mine and isinstance(full, Tensor) else full if mine else None

        return tree_map(whole, state)

    def restore(self, state: Mapping[str, Mapping[str, Any]], optimizer: Any) -> None:
        """This rank's part of each tensor."""
        with torch.no_grad():
            for name, module in self._modules.items():
                for key, shard in module.state_dict().items():
                    shard.copy_(_shard_like(shard, state[name][key]))
        self.restore_optimizer(state["optimizer"], optimizer)

    def restore_optimizer(self, state: Mapping[str, Any], optimizer: Any) -> None:
        """This rank's part of the optimiser's state."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        shards = {
            number: {key: _shard_like(parameters[number], value) for key, value in known.items()}
            for number, known in state["state"].items()
        }
        optimizer.load_state_dict({**state, "state": shards})

    def end(self) -> None:
        """`whole` from now on."""
        self._gather()


def _is_shard(value: Any) -> bool:
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)


def _shard_like(shard: Any, value: Any) -> Any:
    """This rank's part of `value`, where it has the shape of the sharded parameter."""
    from torch.distributed.tensor import distribute_tensor

    if not _is_shard(shard) or not isinstance(value, Tensor) or value.shape != shard.shape:
        return value
    whole = value.to(shard.device)
    return distribute_tensor(whole, shard.device_mesh, shard.placements, src_data_rank=None)
