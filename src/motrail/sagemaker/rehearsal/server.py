"""A serving container: started, watched and asked over HTTP as SageMaker does."""

from __future__ import annotations

import contextlib
import http.client
import socket
import tarfile
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from motrail.sagemaker.rehearsal.host import Host, clear, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from motrail.sagemaker.rehearsal.site import Site

PING_SECONDS = 2.0
_BETWEEN_PINGS = 0.1
_END_SECONDS = 30.0
_BLOCK = 1 << 16


class Answer(NamedTuple):
    """What a container said.

    Attributes:
        status: Of HTTP.
        headers: By name in small letters.
        body: Its content.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswerError(Exception):
    """The container did not answer in time, or closed the connection."""


class TooLargeError(Exception):
    """The container said more than may be said."""


class Server:
    """A running serving container.

    Args:
        site: Where it runs.
        root: In place of `/opt/ml`; removed at the end.
        archive: `model.tar.gz`, or None where the image has all it needs.
        environment: From the model.
        heard: Given each line of its output.

    Raises:
        OSError: It cannot be started.
        tarfile.TarError: The archive is none, or would write outside of its folder.
    """

    def __init__(
        self,
        site: Site,
        root: Path,
        archive: Path | None,
        environment: Mapping[str, str],
        heard: Callable[[str], None],
    ) -> None:
        self._root = root
        model = root / "model"
        model.mkdir()
        if archive is not None:
            with tarfile.open(archive) as tar:
                tar.extractall(model, filter="data")
        self.port = free_port()
        # Nobody else in the network is to reach what has no password.
        given = {
            "MOTRAIL_SERVE_HOST": "127.0.0.1",
            **environment,
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
        }
        self._host = Host(site, ["serve"], root, given, heard)

    def wait(self, seconds: float, ending: threading.Event) -> bool:
        """Whether `GET /ping` answers 200 within so many seconds, and the process lives."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._host.code is None:
            if self.ping():
                return True
            if ending.wait(_BETWEEN_PINGS):
                return False
        return False

    def ping(self) -> bool:
        """Whether it says within 2 s that it is well."""
        try:
            return self._ask("GET", "/ping", b"", {}, PING_SECONDS, _BLOCK).status == 200
        except (NoAnswerError, TooLargeError):
            return False

    def invoke(self, body: bytes, headers: Mapping[str, str], seconds: float, most: int) -> Answer:
        """Post to `/invocations`.

        Args:
            body: What is sent.
            headers: All there are.
            seconds: Until the last byte of the answer must be here.
            most: Bytes of the answer.

        Raises:
            NoAnswerError: It took too long, or the connection broke.
            TooLargeError: The answer is larger than that.
        """
        return self._ask("POST", "/invocations", body, headers, seconds, most)

    def end(self) -> None:
        """SIGTERM, 30 s, and nothing is left."""
        self._host.end(_END_SECONDS)
        clear(self._root)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
        most: int,
    ) -> Answer:
        deadline = time.monotonic() + seconds
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        # A socket's time-out is for each step; this one is for all of them.
        alarm = threading.Timer(seconds, _cut, (connection,))
        alarm.daemon = True
        alarm.start()
        try:
            connection.request(method, path, body if method == "POST" else None, dict(headers))
            response = connection.getresponse()
            parts, length = [], 0
            while block := response.read(_BLOCK):
                parts.append(block)
                length += len(block)
                if length > most:
                    raise TooLargeError
            if time.monotonic() > deadline:
                raise NoAnswerError
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, b"".join(parts))
        except (OSError, http.client.HTTPException, AttributeError, ValueError) as error:
            raise NoAnswerError from error
        finally:
            alarm.cancel()
            connection.close()


def _cut(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
