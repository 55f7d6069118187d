"""The page's server on a socket."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 5
_MAX_HEAD = 32 << 10  # bytes


class Server(uvicorn.Server):
    """uvicorn's server; a signal ends it well, so it is nothing that happened to the process."""

    def __init__(self, app: ASGIApp, *, ready: Callable[[], None] | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                h11_max_incomplete_event_size=_MAX_HEAD,
            )
        )
        self._tell = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell whoever wants to know."""
        await super().startup(sockets)
        if self._tell is not None and not self.should_exit:
            self._tell()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on Ctrl-C and SIGTERM, once; a second Ctrl-C does not wait."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: There is no such address, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"--host: expected an address of this machine, found {host!r}: {error}"
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"--port: cannot listen on {host}, port {port}: {error.strerror}; choose another --port"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Its address, for people and browsers; one that all may use is shown as this machine's."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: ASGIApp, listener: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until a signal comes.

    Args:
        app: What `make_app` gave.
        listener: What `open_socket` gave; closed at the end.
        ready: Called as soon as requests are taken.
    """
    Server(app, ready=ready).run(sockets=[listener])
