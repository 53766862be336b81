"""Recorded answers: an SQLite file that many processes of a machine may use at once."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from farm.errors import DataError
from farm.processes import ProcessId
from farm.types import Usage
from simulators.chat.actors import owner_of, several_machines
from simulators.chat.types import Reply

_SCHEMA = """
create table if not exists replies (
    key text primary key, requested_model text not null, draw integer not null, reply text not null,
    cost_usd real, created_at real not null
) without rowid;
create table if not exists in_flight (key text, pid integer, process_started real, since real);
"""
_BUSY_S = 60.0


class Store(Protocol):
    """Where answers are recorded."""

    async def get(self, key: str) -> Reply | None:
        """The recorded answer, marked as cached."""
        ...

    async def begin(self, key: str) -> None:
        """Remember that a request is about to be sent."""
        ...

    async def put(self, key: str, reply: Reply, *, model: str, draw: int) -> Reply:
        """Record the answer to a request; another process's answer to it wins if it was first."""
        ...

    async def drop(self, key: str) -> None:
        """Forget a request that got no answer."""
        ...

    async def lost(self) -> int:
        """How many requests were in flight in processes that have died; they are forgotten."""
        ...


class ReplyFile:
    """A `Store` in one SQLite file, in WAL mode: what is recorded survives the death of the
    process. Raises DataError for a file that is no such store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=normal")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{path} cannot be used as a cache of answers: {error}. Name another file, on a "
                "disk of this machine."
            ) from error
        self._me = ProcessId.own()

    async def get(self, key: str) -> Reply | None:
        """One look-up."""
        row = self._db.execute("select reply from replies where key = ?", (key,)).fetchone()
        return None if row is None else _decode(row[0])

    async def begin(self, key: str) -> None:
        """One insert, on disk before the request leaves."""
        self._db.execute("insert into in_flight values (?, ?, ?, ?)", (key, *self._me, time.time()))

    async def put(self, key: str, reply: Reply, *, model: str, draw: int) -> Reply:
        """One transaction."""
        row = (key, model, draw, _encode(reply), reply.cost_usd, time.time())
        self._db.execute("begin immediate")
        try:
            first = self._db.execute("insert or ignore into replies values (?, ?, ?, ?, ?, ?)", row)
            self._forget(key)
            self._db.execute("commit")
        except sqlite3.Error:  # a full disk, say: the next answer finds no open transaction
            self._db.execute("rollback")
            raise
        return reply if first.rowcount else await self.get(key) or reply

    async def drop(self, key: str) -> None:
        """One delete."""
        self._forget(key)

    def _forget(self, key: str) -> None:
        self._db.execute("delete from in_flight where key = ? and pid = ?", (key, self._me.pid))

    async def lost(self) -> int:
        """Counts and deletes in one transaction, so that each loss is reported once."""
        self._db.execute("begin immediate")
        owners = self._db.execute(
            "select pid, process_started, count(*) from in_flight group by pid, process_started"
        ).fetchall()
        dead = [owner for owner in owners if not ProcessId(*owner[:2]).alive]
        for pid, started, _ in dead:
            self._db.execute(
                "delete from in_flight where pid = ? and process_started = ?", (pid, started)
            )
        self._db.execute("commit")
        return sum(count for _, _, count in dead)

    # ------------------------------------------------------------------------ for the command

    def summary(self) -> list["ModelSummary"]:
        """What is recorded, by requested model."""
        rows = self._db.execute(
            "select requested_model, count(*), sum(cost_usd), sum(cost_usd is null), "
            "min(created_at), max(created_at) from replies group by requested_model order by 1"
        )
        return [ModelSummary(*row) for row in rows]

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Everything recorded, oldest first."""
        names = ("key", "requested_model", "draw", "reply", "created_at")
        for row in self._db.execute(f"select {', '.join(names)} from replies order by created_at"):
            values = dict(zip(names, row, strict=True))
            yield {**values, "reply": json.loads(values["reply"])}

    def prune(self, *, model: str | None, before: float | None) -> int:
        """Delete the answers of a model, those recorded before a time (s since 1970), or those
        that are both; how many they were."""
        deleted = self._db.execute(
            "delete from replies where (? is null or requested_model = ?) "
            "and (? is null or created_at < ?)",
            (model, model, before, before),
        ).rowcount
        self._db.execute("vacuum")
        return deleted


class ModelSummary(NamedTuple):
    """What is recorded of one model."""

    requested_model: str
    replies: int
    cost_usd: float | None
    """Of the answers whose price is known."""
    unpriced: int
    oldest: float
    newest: float


def _encode(reply: Reply) -> str:
    row = {name: value for name, value in asdict(reply).items() if value is not None}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _decode(text: str) -> Reply:
    row = json.loads(text)
    if "usage" in row:
        row["usage"] = Usage(**row["usage"])
    for name in ("top_logprobs", "last_top_logprobs"):
        if name in row:
            row[name] = tuple((token, p) for token, p in row[name])
    return Reply(**{"text": None, **row, "cached": True})


class ReplyActor:
    """A `Store` in a Ray actor on the head node: a cluster's machines share no SQLite file."""

    def __init__(self, path: Path) -> None:
        self._actor = owner_of(path, ReplyFile)

    async def get(self, key: str) -> Reply | None:
        """Asks the actor."""
        reply: Reply | None = await self._actor.call("get", key)
        return reply

    async def begin(self, key: str) -> None:
        """Tells the actor."""
        await self._actor.call("begin", key)

    async def put(self, key: str, reply: Reply, *, model: str, draw: int) -> Reply:
        """Tells the actor."""
        kept: Reply = await self._actor.call("put", key, reply, model=model, draw=draw)
        return kept

    async def drop(self, key: str) -> None:
        """Tells the actor."""
        await self._actor.call("drop", key)

    async def lost(self) -> int:
        """Asks the actor."""
        count: int = await self._actor.call("lost")
        return count


def open_store(path: Path) -> Store:
    """The file itself; on a cluster of several machines, the actor that owns it."""
    return ReplyActor(path.resolve()) if several_machines() else ReplyFile(path)
