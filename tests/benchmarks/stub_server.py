"""A loopback chat endpoint as fast as Python allows: every request gets the same letter, with
log-probabilities, after `latency_s`. Prints its port. `python stub_server.py LATENCY_S`"""

import asyncio
import json
import sys

LATENCY_S = float(sys.argv[1])
TOP = [{"token": t, "logprob": p, "bytes": None} for t, p in
       (("Q", -0.3), ("P", -1.5), ("M", -2.0), ("m", -3.0))]  # fmt: skip
BODY = json.dumps(
    {
        "id": "x", "object": "chat.completion", "created": 0, "model": "stub",
        "choices": [
            {
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Q"},
                "logprobs": {"content": [{**TOP[0], "top_logprobs": TOP}]},
            }
        ],
        "usage": {"prompt_tokens": 500, "completion_tokens": 1, "total_tokens": 501},
    }
).encode()  # fmt: skip
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
RESPONSE = HEAD.encode() + BODY


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) >= length:
            self._received = body[length:]
            asyncio.get_running_loop().call_later(LATENCY_S, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(RESPONSE)  # type: ignore[attr-defined]


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
