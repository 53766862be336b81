"""What was spent of a budget: an SQLite file that all who share the budget write to."""

import sqlite3
from pathlib import Path
from typing import NamedTuple, Protocol

from simulators.chat.actors import owner_of, several_machines


class Spending(NamedTuple):
    """What requests cost."""

    usd: float
    calls: float
    tokens: float


class Ledger(Protocol):
    """Where it is written down."""

    async def reserve(self, estimate: Spending, limits: Spending) -> bool:
        """Take an estimate out of the budget; False where that does not allow it."""
        ...

    async def settle(self, estimate: Spending, bill: Spending) -> None:
        """Put back what the bill does not need."""
        ...


class LedgerFile:
    """A `Ledger` for the processes of one machine; one statement a change, in WAL mode."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            path, timeout=60.0, isolation_level=None, check_same_thread=False
        )
        self._db.execute("pragma journal_mode=wal")
        self._db.execute(
            "create table if not exists spent (one integer primary key check (one = 1), "
            "usd real, calls real, tokens real)"
        )
        self._db.execute("insert or ignore into spent values (1, 0, 0, 0)")

    async def reserve(self, estimate: Spending, limits: Spending) -> bool:
        """Look and take at once, for all who share it."""
        return bool(
            self._db.execute(
                "update spent set usd = usd + ?1, calls = calls + ?2, tokens = tokens + ?3 "
                "where usd + ?1 <= ?4 and calls + ?2 <= ?5 and tokens + ?3 <= ?6",
                (*estimate, *limits),
            ).rowcount
        )

    async def settle(self, estimate: Spending, bill: Spending) -> None:
        """Add the difference."""
        difference = [paid - taken for paid, taken in zip(bill, estimate, strict=True)]
        self._db.execute(
            "update spent set usd = usd + ?, calls = calls + ?, tokens = tokens + ?", difference
        )


class LedgerActor:
    """A `Ledger` in a Ray actor on the head node, for all machines of a cluster."""

    def __init__(self, path: Path) -> None:
        self._actor = owner_of(path, LedgerFile)

    async def reserve(self, estimate: Spending, limits: Spending) -> bool:
        """Asks the actor."""
        allowed: bool = await self._actor.call("reserve", estimate, limits)
        return allowed

    async def settle(self, estimate: Spending, bill: Spending) -> None:
        """Tells the actor."""
        await self._actor.call("settle", estimate, bill)


def open_ledger(path: Path) -> Ledger:
    """The file itself; on a cluster of several machines, the actor that owns it."""
    return LedgerActor(path.resolve()) if several_machines() else LedgerFile(path)
