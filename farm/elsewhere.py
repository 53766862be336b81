"""What workers on several machines need where each has files of its own: the others' files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from farm.artifacts import Store
from farm.pool import Pool
from farm.training.ranks import Ranks
from farm.work_folder import WorkFolder

if TYPE_CHECKING:
    from torch import Tensor

    from farm.training.holding import Holding

T = TypeVar("T")
R = TypeVar("R")


def opened(folder: WorkFolder, ranks: Ranks) -> Ranks:
    """Open a work folder on the machines of all ranks, with the same content. The ranks, which
    keep it the same where they have several such folders."""

    def first() -> None:
        folder.open()
        folder.save()  # what this machine has done since the last snapshot

    ranks.once(first)
    if ranks.rank:
        folder.open()
    folders = ranks.gather([folder.identity()])
    if len(set(folders)) == 1:
        return ranks
    return Apart(ranks, folder, elsewhere=folders[ranks.rank] != folders[0])


class Apart:
    """Ranks whose work folders are not the same one. As on a common file system, what rank 0 has
    written is there for all after `once`, and what the others have written is there for it."""

    def __init__(self, ranks: Ranks, folder: WorkFolder, *, elsewhere: bool) -> None:
        """`elsewhere`: whether this rank's folder is another one than rank 0's."""
        self.rank, self.count = ranks.rank, ranks.count
        self._ranks, self._folder, self._elsewhere = ranks, folder, elsewhere

    def share(self, rows: Sequence[T]) -> list[T]:
        """Theirs."""
        return self._ranks.share(rows)

    def gather(self, mine: Sequence[T]) -> list[T]:
        """Theirs."""
        return self._ranks.gather(mine)

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Theirs."""
        self._ranks.add(tensors)

    def hold(self, modules: Mapping[str, Any], *, divide_by: float = 1.0) -> "Holding":
        """As theirs."""
        return self._ranks.hold(modules, divide_by=divide_by)

    def once(self, work: Callable[[], T]) -> T:
        """Theirs, with the files handed around before and after."""
        sent = self._ranks.gather([self._folder.unsaved() if self._elsewhere else {}])

        def first() -> T:
            for files in sent:
                self._folder.place(files)
            result = work()
            self._folder.save()
            return result

        result = self._ranks.once(first)
        if self._elsewhere:
            self._folder.update()
        self._ranks.gather([None])  # nobody saves while another reads
        return result


class Supplied:
    """A `Pool` whose actors have some of the store's artefacts on their machines."""

    def __init__(self, pool: Pool, store: Store, paths: Sequence[Path]) -> None:
        self.size = pool.size
        self._pool, self._store, self._paths = pool, store, paths

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The pool's, once the artefacts are there."""
        return self._pool.map(partial(_supplied, self._store, self._paths, function), tasks)

    def stop(self) -> None:
        """The pool's."""
        self._pool.stop()


def _supplied(store: Store, paths: Sequence[Path], function: Callable[[T], R], task: T) -> R:
    store.have(paths)
    return function(task)
