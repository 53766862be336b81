"""The processes that train one model together, each on its share of the rows.

Every rank runs the same program on the same data and takes part in every exchange. Losses are
normalised by what the whole batch holds and gradients are added up before each step, so that the
sum over ranks is what one rank alone would compute.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from farm.training.holding import Holding

T = TypeVar("T")


class Ranks(Protocol):
    """What a learner asks of the group it is in."""

    rank: int
    """This process's number, from 0. Rank 0 alone writes files."""
    count: int
    """How many there are."""

    def share(self, rows: Sequence[T]) -> list[T]:
        """Those of the rows that this rank works on; all ranks' shares make up the whole."""
        ...

    def gather(self, mine: Sequence[T]) -> list[T]:
        """The inverse of `share`: all ranks' results, one for each row, in the rows' order."""
        ...

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Replace each tensor by its sum over the ranks."""
        ...

    def once(self, work: Callable[[], T]) -> T:
        """What `work` returns on rank 0, which alone does it; the others wait. Inside, rank 0
        is by itself."""
        ...

    def hold(self, modules: Mapping[str, Any], *, divide_by: float = 1.0) -> "Holding":
        """The torch modules, by name, ready to be trained by all ranks; where these add gradients
        up within the backward pass, they divide them by `divide_by`."""
        ...


class Alone:
    """One process."""

    rank, count = 0, 1

    def share(self, rows: Sequence[T]) -> list[T]:
        """All of them."""
        return list(rows)

    def gather(self, mine: Sequence[T]) -> list[T]:
        """As they are."""
        return list(mine)

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """As they are."""

    def once(self, work: Callable[[], T]) -> T:
        """Done here."""
        return work()

    def hold(self, modules: Mapping[str, Any], *, divide_by: float = 1.0) -> "Holding":
        """As they are."""
        from farm.training.holding import Copies

        return Copies(modules, self)


_BUCKET_BYTES = 2**26
"""Small tensors are added up together, as much memory at a time."""


class Group:
    """This process among those of torch.distributed's default group, which must be there."""

    def __init__(self) -> None:
        from torch import distributed

        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        self._scope: Ranks | None = None

    def share(self, rows: Sequence[T]) -> list[T]:
        """Every `count`-th row, so that rows in order of length are shared out evenly."""
        return self._scope.share(rows) if self._scope else list(rows[self.rank :: self.count])

    def gather(self, mine: Sequence[T]) -> list[T]:
        """As `Ranks.gather` says; rows may be anything that can be pickled."""
        from torch import distributed

        if self._scope:
            return self._scope.gather(mine)
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, list(mine))
        total = sum(map(len, parts))
        return [parts[row % self.count][row // self.count] for row in range(total)]

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """As `Ranks.add` says, bucket by bucket."""
        import torch
        from torch import distributed

        if self._scope:
            return
        with torch.no_grad():
            for bucket in _buckets(tensors):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                distributed.all_reduce(flat)
                sums = torch.split(flat, [tensor.numel() for tensor in bucket])
                for tensor, summed in zip(bucket, sums, strict=True):
                    tensor.copy_(summed.view_as(tensor))

    def once(self, work: Callable[[], T]) -> T:
        """As `Ranks.once` says."""
        from torch import distributed

        if self._scope:
            return work()
        result: list[Any] = [None]
        if self.rank == 0:
            self._scope = Alone()
            try:
                result = [work()]
            finally:
                self._scope = None
        distributed.broadcast_object_list(result, src=0)
        found: T = result[0]
        return found

    def hold(self, modules: Mapping[str, Any], *, divide_by: float = 1.0) -> "Holding":
        """A copy on each rank."""
        from farm.training.holding import Copies

        return Copies(modules, self)


class ShardingGroup(Group):
    """As a Group, whose ranks hold a part of every weight each."""

    def hold(self, modules: Mapping[str, Any], *, divide_by: float = 1.0) -> "Holding":
        """A part on each rank."""
        from farm.training.holding import Shards

        return Shards(modules, self, divide_by)


def _buckets(tensors: "Sequence[Tensor]") -> "list[list[Tensor]]":
    """The tensors in their order, cut where the type changes or a bucket is full."""
    buckets: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        if not buckets or tensor.dtype != buckets[-1][0].dtype or tensor.nbytes > room:
            buckets.append([])
            room = _BUCKET_BYTES
        buckets[-1].append(tensor)
        room -= tensor.nbytes
    return buckets
