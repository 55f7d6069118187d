"""A small web server for the tests: it notes what comes in and answers as it is told."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Came:
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Says:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] | None = None


class Receiver:
    """Listens on a free port of this machine until the end of the block.

    Args:
        answers: One for each request, the last for all that follow; a function does what it likes
            with the handler.
        tls: Files with a certificate and its key.
    """

    def __init__(
        self,
        *answers: Says | Callable[[BaseHTTPRequestHandler], None],
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.came: list[Came] = []
        self._answers = deque(answers or [Says()])
        self._lock = threading.Lock()
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(OSError):  # a client that went away
                    super().handle_one_request()
                self.close_connection = True

            def do_GET(self) -> None:
                outer._answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            self.came.append(
                Came(handler.command, handler.path, dict(handler.headers.items()), body)
            )
            answer = self._answers[0] if len(self._answers) == 1 else self._answers.popleft()
        if not isinstance(answer, Says):
            answer(handler)
            return
        handler.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **(answer.headers or {})}
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer.body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
