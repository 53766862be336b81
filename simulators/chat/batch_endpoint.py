"""Chat models behind OpenAI's Batch API: half the price, answered within a day."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from farm.errors import ConfigError
from farm.heartbeat import beat
from simulators.chat.cached import request_key
from simulators.chat.endpoint import Endpoint, NoCompletion, record
from simulators.chat.limits import Limits, Patience
from simulators.chat.prices import Price
from simulators.chat.quote import Quote
from simulators.chat.types import Capabilities, ChatRequest, EndpointError, Reply

if TYPE_CHECKING:
    from openai.types import Batch

_URL = "/v1/chat/completions"
_MAX_BYTES = 200_000_000
"""Of one file, as the API's reference says (POST /v1/batches, `input_file_id`)."""
_PAUSE_S = 0.2
"""A batch is sent when no request has joined it for so long."""
_HANDED_OVER_S = 1.0
"""How long a batch stays on record after its answers were given, so that a cache has them."""
_ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True)
class Batches:
    """How requests are put together and waited for."""

    state: str
    """Folder with a file for each batch that is under way."""
    discount: float = 0.5
    """Share of the price that is not paid. OpenAI's Batch API FAQ: "50% cost discount"."""
    poll_s: float = 30.0
    """Seconds between two looks at a batch."""
    max_requests: int = 50_000
    """In one batch; the default is the API's limit (reference of POST /v1/batches)."""

    def __post_init__(self) -> None:
        if not 0 <= self.discount <= 1 or self.poll_s <= 0 or self.max_requests < 1:
            raise ConfigError(
                f"batches: discount={self.discount}, poll_s={self.poll_s}, max_requests="
                f"{self.max_requests}: give a share between 0 and 1, a time above 0 and at least 1."
            )


class _Waiting(NamedTuple):
    key: str
    line: str
    answer: "asyncio.Future[Reply]"


class BatchEndpoint(Endpoint):
    """Collects what is asked until nothing more comes, and asks it as one batch. A batch that is
    refused as a whole raises EndpointError with the provider's messages; a request that fails, or
    is not reached within the day, comes back with an error.

    What was submitted is on record in the folder `batches.state`. A process that asks again what
    another one had submitted when it died waits for that batch, and pays only for the requests
    that it leaves without an answer, in a new batch.

    Args:
        model, base_url, api_key_env, capabilities: as of `Endpoint`.
        batches: how requests are put together and waited for.
        price: dollars per million tokens before the discount; null takes the model's entry in the
            price table, and where it has none the price is not known.
        patience: as of `Endpoint`, for each upload, look and download.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset(
        {"api_key_env", "price", "patience", "batches"}
    )

    def __init__(
        self,
        *,
        model: str,
        batches: Batches,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str | None = "OPENAI_API_KEY",
        capabilities: Capabilities | None = None,
        price: Price | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._batches: Batches = record(Batches, batches)
        super().__init__(
            model=model,
            base_url=base_url,
            api_key_env=api_key_env,
            capabilities=capabilities,
            limits=Limits(concurrency=self._batches.max_requests),  # all that is asked joins
            price=price,
            patience=patience,
        )
        self.price = self.price and _reduced(self.price, self._batches.discount)
        self._records = _Records(Path(self._batches.state))
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()

    async def ask(self, request: ChatRequest) -> Reply:
        """The answer of this model, once the batch that the request joins is done."""
        loop = asyncio.get_running_loop()
        key = request_key(self.server, request)
        one = _Waiting(key, self._line(key, request), loop.create_future())
        if self._bytes + len(one.line) > _MAX_BYTES:
            self._flush()
        self._waiting.append(one)
        self._bytes += len(one.line)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(_PAUSE_S, self._flush)
        if len(self._waiting) == self._batches.max_requests:
            self._flush()
        return await one.answer

    def unpaid(self) -> dict[str, str]:
        """What stands in this node's place in a dry run (`farm.config.unpaid`)."""
        return {"_target_": "simulators.chat.batch_endpoint.BatchQuote"}

    def _line(self, key: str, request: ChatRequest) -> str:
        line = {"custom_id": key, "method": "POST", "url": _URL, "body": self._body(request)}
        return json.dumps(line, separators=(",", ":")) + "\n"  # ASCII: a character is a byte

    def _flush(self) -> None:
        waiting = [one for one in self._waiting if not one.answer.cancelled()]
        self._waiting, self._bytes = [], 0
        if waiting:
            flush = asyncio.get_running_loop().create_task(self._answer(waiting))
            self._flushes.add(flush)  # the loop itself holds tasks only weakly
            flush.add_done_callback(self._flushes.discard)

    async def _answer(self, waiting: Sequence[_Waiting]) -> None:
        try:
            replies, used = await self._outcome({one.key: one.line for one in waiting})
        except Exception as error:  # handed to those who wait, who raise it
            for one in waiting:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        for one in waiting:
            if not one.answer.done():
                one.answer.set_result(replies[one.key])
        await asyncio.sleep(_HANDED_OVER_S)
        for name in used:
            self._records.drop(name)

    async def _outcome(self, lines: Mapping[str, str]) -> tuple[dict[str, Reply], list[str]]:
        """The answer to each line, and the records that are of no more use then."""
        from openai import APIError

        try:
            return await self._replies(lines)
        except APIError as error:  # what was submitted stays on record
            return dict.fromkeys(lines, self._given_up(error)), []

    async def _replies(self, lines: Mapping[str, str]) -> tuple[dict[str, Reply], list[str]]:
        """As `_outcome`, from batches on record and a new one for what these leave unanswered."""
        replies: dict[str, Reply] = {}
        known = self._records.holding(lines.keys())
        for batch_id in known.values():
            found = await self._resumed(batch_id)
            replies |= {key: r for key, r in found.items() if key in lines and r.error is None}
        rest = {key: line for key, line in sorted(lines.items()) if key not in replies}
        if not rest:
            return replies, list(known)
        name, batch = await self._submitted(rest)
        unanswered = Reply(None, error=f"no answer came; the batch {batch.id} is {batch.status}")
        replies |= dict.fromkeys(rest, unanswered) | await self._read(batch)
        return replies, [*known, name]

    async def _resumed(self, batch_id: str) -> dict[str, Reply]:
        """What a batch on record has answered, by request; nothing where the provider no longer
        has it."""
        from openai import NotFoundError

        try:
            return await self._read(await self._ended(batch_id))
        except NotFoundError:
            return {}

    async def _submitted(self, lines: Mapping[str, str]) -> tuple[str, "Batch"]:
        """The record and the batch of these lines, once it has ended. Raises EndpointError where
        it is refused."""
        content = "".join(lines.values()).encode()
        client = self._client
        file = await self._patiently(
            client.files.create, file=("requests.jsonl", content), purpose="batch"
        )
        batch = await self._patiently(
            client.batches.create, input_file_id=file.id, endpoint=_URL, completion_window="24h"
        )
        name = hashlib.sha256(content).hexdigest()
        self._records.put(name, batch.id, lines.keys())
        batch = await self._ended(batch.id)
        if batch.status == "failed":
            self._records.drop(name)
            errors = (batch.errors and batch.errors.data) or []
            said = " ".join(str(error.message) for error in errors) or "no reason is given."
            raise EndpointError(
                f"{self.model} at {self._base_url} refuses the batch {batch.id}: "
                f"{self._redacted(said)}"
            )
        return name, batch

    async def _ended(self, batch_id: str) -> "Batch":
        while True:
            batch: Batch = await self._patiently(self._client.batches.retrieve, batch_id)
            if batch.status in _ENDED:
                return batch
            beat(0, {})  # a batch may take a day: its stage does not hang
            await asyncio.sleep(self._batches.poll_s)

    async def _read(self, batch: "Batch") -> dict[str, Reply]:
        """The replies in a batch's files, by request. Their latency is the whole batch's."""
        latency_s = batch.completed_at and float(batch.completed_at - batch.created_at)
        replies: dict[str, Reply] = {}
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is not None:
                content = await self._patiently(self._client.files.content, file_id)
                for line in content.text.split("\n"):  # texts may hold what splitlines() splits at
                    if line:
                        row = json.loads(line)
                        replies[row["custom_id"]] = self._row_reply(row, latency_s)
        return replies

    def _row_reply(self, row: Mapping[str, Any], latency_s: float | None) -> Reply:
        response = row.get("response") or {}
        body = response.get("body") or {}
        if response.get("status_code") == 200:
            with suppress(NoCompletion):
                return self._reply(body, latency_s)
        error = row.get("error") or body.get("error") or {}
        said = f"{error.get('code')}: {error.get('message')}"
        return Reply(None, error=self._redacted(f"refused: {said}"), latency_s=latency_s)


class BatchQuote(Quote, BatchEndpoint):
    """Has a batch endpoint's settings and asks nobody, as `Quote`."""


class _Records:
    """A folder with a file for each submitted batch, named by the hash of what was submitted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, batch_id: str, keys: Iterable[str]) -> None:
        """On disk as a whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f"{name}.tmp"
        unfinished.write_text(json.dumps({"batch": batch_id, "requests": list(keys)}))
        unfinished.replace(self._folder / f"{name}.json")

    def holding(self, keys: Set[str]) -> dict[str, str]:
        """The batches with one of these requests, by the names of their records."""
        batches = {}
        for path in sorted(self._folder.glob("*.json")):
            with suppress(FileNotFoundError):  # another process has just dropped it
                row = json.loads(path.read_text())
                if not keys.isdisjoint(row["requests"]):
                    batches[path.stem] = str(row["batch"])
        return batches

    def drop(self, name: str) -> None:
        """Forget a batch."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)


def _reduced(price: Price, discount: float) -> Price:
    return Price(
        price.input_usd_per_million * (1 - discount), price.output_usd_per_million * (1 - discount)
    )
