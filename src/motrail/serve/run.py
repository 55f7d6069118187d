"""The server on a socket: uvicorn, with limits to how long anything may take to come or go."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from motrail.errors import ConfigError
from motrail.serve.problems import bad_request

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

HEAD_SECONDS = 15.0
"""Time in which the head of a request has to have come, from its first byte on."""
WRITE_SECONDS = 60.0
"""Time in which a client has to take some of an answer that waits for it."""
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 25
"""Time for requests under way when the server is told to stop; SageMaker kills after 30."""
_MAX_HEAD = 32 << 10  # bytes
_BACKLOG = 2048
_MAX_CONNECTIONS = 10_000
_OTHER_FILES = 256


def _connection_limit() -> int:
    """Connections for which the system lets us open sockets, and files beside them."""
    try:
        import resource
    except ImportError:  # not on this system
        return _MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(min(soft - _OTHER_FILES, _MAX_CONNECTIONS), 1)


class Guarded(H11Protocol):
    """uvicorn's HTTP/1.1, which ends connections that trickle or that nobody reads from."""

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    head_seconds = HEAD_SECONDS
    write_seconds = WRITE_SECONDS
    max_connections = _connection_limit()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give it time for its first request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._forget_head()
        self._forget_write()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that is not complete has its time from its first byte on."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._watch_head()
        else:
            self._forget_head()

    def on_response_complete(self) -> None:
        """Go on with what came while the answer was on its way."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._watch_head()

    def send_400_response(self, msg: str) -> None:
        """Say what every other error says, where there is still something to say it to."""
        problem = bad_request(f"expected HTTP/1.1: {msg}")
        request_id = secrets.token_hex(16)
        content = json.dumps(problem.as_dict(request_id)).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(content)),
            "x-request-id": request_id,
            "connection": "close",
        }
        events = [
            h11.Response(status_code=problem.status, headers=list(headers.items())),
            h11.Data(data=content),
            h11.EndOfMessage(),
        ]
        if self.cycle is not None:  # nothing else may be said from now on
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        except h11.LocalProtocolError:  # the answer has begun already
            self.transport.abort()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._forget_write()

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.abort()

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _forget_write(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


class Server(uvicorn.Server):
    """uvicorn's server; a signal ends it well, so it is nothing that happened to the process."""

    def __init__(
        self, app: ASGIApp, *, ready: Callable[[], None] | None = None, protocol: Any = Guarded
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
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
            f"host: expected an address of this machine, found {host!r}: {error}"
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port: cannot listen on {host}, port {port}: {error.strerror}; choose another --port"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Its address, for people and browsers."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: ASGIApp, listener: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until a signal comes, and finish what is under way.

    Args:
        app: What `make_app` gave.
        listener: What `open_socket` gave; closed at the end.
        ready: Called as soon as requests are taken.
    """
    Server(app, ready=ready).run(sockets=[listener])
