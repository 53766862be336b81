"""An HTTP server around an app: in the foreground for the command, or in a thread."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp
from uvicorn import Config, Server

from farm.errors import ConfigError

_ON_PURPOSE = ("ASGI callable returned without completing response.", "Cancel %s running task(s)")
_BACKLOG = 2048
"""Connections that may wait to be accepted."""


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Print the URL as a line, then serve until interrupted. Raises ConfigError for an address
    that cannot be listened at."""
    with _listening(host, port) as listener:
        print(_url(listener), flush=True)
        _server(app).run(sockets=[listener])


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve at a free loopback port while inside; gives the `base_url` for clients."""
    with _listening("127.0.0.1", 0) as listener:
        server = _server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"host={host} port={port}: cannot listen there: {error.strerror}. Choose another port, "
            "or port=0 for any free one, and a host that is an address of this machine."
        ) from None
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _server(app: ASGIApp) -> Server:
    config = Config(
        app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    logging.getLogger("uvicorn.error").addFilter(_unexpected)
    return Server(config)


def _unexpected(record: logging.LogRecord) -> bool:
    """Whether a line is worth printing: connections that faults break off are not."""
    return not record.msg.startswith(_ON_PURPOSE)
