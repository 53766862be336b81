"""The Batch API: a file of requests goes in, files of answers and of errors come out."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.serving.answering import Refusal

Kept = TypeVar("Kept")
Handler = Callable[[Request], Awaitable[Response]]
Complete = Callable[[bytes], Awaitable[Response]]
"""The response to the body of a chat request."""
_URL = "/v1/chat/completions"


class Batches:
    """Keeps files and batches in memory, and has the requests of a batch answered `batch_s` seconds
    after it was made. A batch with a line that is no request, an id that comes twice or a model
    that is not there fails as a whole. The lines of output are in reverse order, since clients may
    rely on none."""

    def __init__(self, models: Collection[str], complete: Complete, batch_s: float) -> None:
        self._models = models
        self._complete = complete
        self._batch_s = batch_s
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Of batches ever made."""
        return len(self._batches)

    def routes(self) -> list[Route]:
        """The part of the API that is served."""
        return [
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files/{id}/content", self.content),
            Route("/v1/batches", self.create, methods=["POST"]),
            Route("/v1/batches/{id}", self.retrieve),
        ]

    async def upload(self, request: Request) -> Response:
        """Keep the file of a form."""
        name, content = _file(request.headers.get("content-type", ""), await request.body())
        file_id = self._keep(content)
        row = {"id": file_id, "object": "file", "bytes": len(content), "created_at": _now()}
        return JSONResponse({**row, "filename": name, "purpose": "batch", "status": "processed"})

    async def content(self, request: Request) -> Response:
        """What a file holds."""
        content = _found(self._files, request.path_params["id"])
        return Response(content, media_type="application/jsonl")

    async def create(self, request: Request) -> Response:
        """Make a batch of a file, and begin with it."""
        wanted = json.loads(await request.body())
        if (wanted.get("endpoint"), wanted.get("completion_window")) != (_URL, "24h"):
            raise _invalid(f"`endpoint` must be {_URL} and `completion_window` 24h.")
        _found(self._files, wanted.get("input_file_id"))
        batch = {
            "id": f"batch_{self.count}",
            "object": "batch",
            "endpoint": _URL,
            "input_file_id": wanted["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "created_at": _now(),
        }
        self._batches[batch["id"]] = batch
        run = asyncio.create_task(self._process(batch))
        self._running.add(run)  # the loop itself holds tasks only weakly
        run.add_done_callback(self._running.discard)
        return JSONResponse(batch)

    async def retrieve(self, request: Request) -> Response:
        """How a batch stands."""
        return JSONResponse(_found(self._batches, request.path_params["id"]))

    def _keep(self, content: bytes) -> str:
        file_id = f"file-{len(self._files)}"
        self._files[file_id] = content
        return file_id

    async def _process(self, batch: dict[str, Any]) -> None:
        lines = self._files[batch["input_file_id"]].decode().splitlines()
        errors = _faulty(lines, self._models)
        if errors:
            batch |= {"status": "failed", "failed_at": _now()}
            batch["errors"] = {"object": "list", "data": errors}
            return
        batch["status"] = "in_progress"
        await asyncio.sleep(self._batch_s)
        rows = [await self._row(json.loads(line)) for line in reversed(lines)]
        for key, wanted in (("output_file_id", True), ("error_file_id", False)):
            kept = [row for row in rows if (row["response"]["status_code"] == 200) is wanted]
            content = "".join(f"{json.dumps(row)}\n" for row in kept).encode()
            batch[key] = self._keep(content) if kept else None
        batch |= {"status": "completed", "completed_at": _now()}

    async def _row(self, line: Mapping[str, Any]) -> dict[str, Any]:
        answered = await self._complete(json.dumps(line["body"]).encode())
        request_id = f"req_{line['custom_id']}"
        response = {
            "status_code": answered.status_code,
            "request_id": request_id,
            "body": json.loads(bytes(answered.body)),
        }
        row = {"id": f"batch_{request_id}", "custom_id": line["custom_id"]}
        return {**row, "response": response, "error": None}


def _now() -> int:
    return int(time.time())


def _found(kept: Mapping[str, Kept], key: str) -> Kept:
    if key not in kept:
        raise Refusal(404, f"Nothing is here that is called {key}.", "not_found")
    return kept[key]


def _invalid(message: str) -> Refusal:
    return Refusal(400, message, "invalid_request")


def _file(content_type: str, body: bytes) -> tuple[str, bytes]:
    """Name and content of the file in a form (multipart/form-data)."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + body)
    for part in form.iter_parts():
        if part.get_filename() is not None:
            return str(part.get_filename()), bytes(part.get_payload(decode=True))
    raise _invalid("The form holds no file.")


def _faulty(lines: list[str], models: Collection[str]) -> list[dict[str, Any]]:
    """What is wrong with the lines of a batch, in the API's form."""
    errors: list[dict[str, Any]] = []
    ids: set[str] = set()
    for number, line in enumerate(lines, 1):
        problem = _problem(line, ids, models)
        if problem is not None:
            code, message = problem
            errors.append({"code": code, "message": message, "param": None, "line": number})
    return errors


def _problem(line: str, ids: set[str], models: Collection[str]) -> tuple[str, str] | None:
    """Code and message of what is wrong with a line; its id is added to `ids`."""
    try:
        row = json.loads(line)
        request_id, model, where = row["custom_id"], row["body"]["model"], row["url"]
    except (ValueError, KeyError, TypeError):
        return "invalid_json_line", "This line is no request with custom_id, method, url and body."
    if request_id in ids:
        return "duplicate_custom_id", f"The custom_id {request_id} comes twice."
    ids.add(request_id)
    if where != _URL or row.get("method") != "POST":
        return "invalid_url", f"Requests must be POST to {_URL}."
    if model not in models:
        return "model_not_found", f"The model `{model}` does not exist: {', '.join(models)}."
    return None
