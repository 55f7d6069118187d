"""How requests get to a server: HTTP with connections that are kept, and what is tried again."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from motrail.errors import MissingExtraError
from motrail.remote.problems import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import httpx

KEEP_SECONDS = 3.0
"""How long an idle connection is used again: less than servers keep it, so that none is sent into
one that just closed."""
_ATTEMPTS = 4
_FIRST_WAIT = 0.2  # seconds, doubled with each further attempt
_LONGEST_WAIT = 10.0
_PIECE = 1 << 18
_SHOWN = 300  # characters of an answer that is no JSON


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: Of HTTP.
        headers: By their names in small letters.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def of_type(self, media_type: str) -> bytes:
        """The body, which is to be of this type.

        Raises:
            RemoteError: It says that it is something else.
        """
        found = self.headers.get("content-type", media_type).partition(";")[0].strip().lower()
        if found != media_type:
            raise RemoteError(
                f"expected {media_type} from the server, found {found[:100]}; "
                "is it a motrail server?"
            )
        return self.body


class Transport(Protocol):
    """Carries one body to a model and the answer back; sessions need nothing else.

    An endpoint that only lets `POST /invocations` through can stand behind it.
    """

    def invoke(
        self, content_type: str, body: bytes, headers: Mapping[str, str], *, again: bool
    ) -> Answer:
        """Send a body; called from several threads at once.

        Args:
            content_type: Media type of the body.
            body: What is sent.
            headers: `Accept`, and those of sessions and attributes that begin with
                `X-Amzn-SageMaker-`.
            again: Whether the same may be sent a second time where nobody knows if it arrived.

        Raises:
            RemoteError: There was no answer, or another than was asked for.
        """

    def abort(self) -> None:
        """Give up what is under way; further requests are possible."""


class HttpTransport:
    """Requests to a server by HTTP, over connections that are used again.

    A 503 says that nothing was done, and is tried again when the server says so; a connection that
    could not be made is tried again; one that broke afterwards only where `again` allows it.

    Args:
        url: Address of the server.
        token: Sent as `Authorization: Bearer …`; None for none.
        timeout: Seconds without a sign of life after which a request is given up.
        patience: Seconds during which refused or failed requests are tried again.

    Raises:
        RemoteError: The address is none.
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 60.0, patience: float = 30.0
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("httpx", "remote", error) from error
        self.url = url.rstrip("/")
        self.sessions = True
        self.token, self.timeout, self.patience = token, timeout, patience
        self._httpx = httpx
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        headers = {"User-Agent": "motrail"}
        if token is not None:
            headers["Authorization"] = f"Bearer {_checked_token(token)}"
        self._client = httpx.Client(
            base_url=_checked_address(self.url, httpx),
            headers=headers,
            timeout=timeout,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEP_SECONDS),
        )

    def sibling(self) -> HttpTransport:
        """Another one to the same server, with connections of its own."""
        return HttpTransport(
            self.url, token=self.token, timeout=self.timeout, patience=self.patience
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def abort(self) -> None:
        """Give up what is under way; further requests are possible."""
        with self._lock:
            self._woken.set()
            self._woken = threading.Event()
            known = list(self._sockets)
        for each in known:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def invoke(
        self, content_type: str, body: bytes, headers: Mapping[str, str], *, again: bool
    ) -> Answer:
        """See `Transport`."""
        return self.request(
            "POST", "/invocations", body, {"Content-Type": content_type, **headers}, again=again
        )

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Path | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        again: bool = True,
        seconds: float | None = None,
    ) -> Answer:
        """Send a request, and a refused one again as long as patience lasts.

        Args:
            method: Of HTTP.
            path: Below the server's address.
            body: Bytes, or a file whose content is sent.
            headers: Of the request.
            again: Whether the same may be sent a second time where nobody knows if it arrived.
            seconds: How long to wait for the answer, where that is longer than `timeout`.

        Raises:
            RemoteError: There was no answer, or another than was asked for.
        """

        def send() -> Answer:
            with self._sent(method, path, body, headers, seconds) as response:
                response.read()
                return _answer(response)

        return self._patiently(send, again=again)

    def download(
        self,
        path: str,
        take: Callable[[bytes], None],
        *,
        method: str = "GET",
        body: Path | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Send a request and hand on the body of its answer piece by piece.

        Raises:
            RemoteError: There was no answer, or another than was asked for.
        """

        def send() -> Answer:
            with self._sent(method, path, body, headers, seconds) as response:
                if not 200 <= response.status_code < 300:
                    response.read()
                    return _answer(response)
                for piece in response.iter_bytes(_PIECE):
                    take(piece)
                return Answer(response.status_code, dict(response.headers), b"")

        self._patiently(send, again=False)

    @contextlib.contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        body: bytes | Path | None,
        headers: Mapping[str, str] | None,
        seconds: float | None,
    ) -> Iterator[httpx.Response]:
        given = dict(headers or {})
        content: Any = body
        if body is not None and not isinstance(body, bytes):
            given["Content-Length"] = str(body.stat().st_size)
            content = _pieces(body)
        wait = self._httpx.Timeout(self.timeout, read=max(seconds or 0.0, self.timeout))
        extensions = {"trace": self._notice}
        with self._client.stream(
            method, path, content=content, headers=given, timeout=wait, extensions=extensions
        ) as response:
            yield response

    def _notice(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the sockets of connections, for `abort`."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._sockets.add(info["return_value"].get_extra_info("socket"))

    def _patiently(self, send: Callable[[], Answer], *, again: bool) -> Answer:
        deadline = time.monotonic() + self.patience
        woken = self._woken
        broken = 0
        while True:
            try:
                answer = send()
            except self._httpx.HTTPError as error:
                broken += 1
                unsent = isinstance(error, (self._httpx.ConnectError, self._httpx.ConnectTimeout))
                late = isinstance(error, self._httpx.TimeoutException) and not unsent
                if woken.is_set() or late or not (again or unsent) or broken == _ATTEMPTS:
                    raise self._unreachable(error) from error
                wait = _FIRST_WAIT * 2 ** (broken - 1)
            else:
                if 200 <= answer.status < 300:  # whoever sends us elsewhere has not answered
                    return answer
                wait = _retry_after(answer)
                if answer.status != 503 or time.monotonic() + wait > deadline:
                    raise self._refused(answer)
            if woken.wait(wait):
                raise RemoteError(f"{self.url}: given up")

    def _unreachable(self, error: httpx.HTTPError) -> RemoteError:
        if isinstance(error, self._httpx.ConnectError):
            said = f"cannot be reached: {error}; is a motrail server running there?"
        elif isinstance(error, self._httpx.TimeoutException):
            said = f"gave no answer within {self.timeout:g} s"
        else:
            said = f"the connection broke: {str(error) or type(error).__name__}"
        return RemoteError(f"{self.url}: {said}")

    def _refused(self, answer: Answer) -> RemoteError:
        code, said = _error_of(answer)
        name = f"{answer.status} {code}" if code else str(answer.status)
        return RemoteError(
            f"{self.url}: {said} ({name})",
            status=answer.status,
            code=code,
            request_id=answer.headers.get("x-request-id"),
        )


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "1")
    # A date is allowed there, too; ours sends seconds.
    seconds = float(text) if text.isascii() and text.isdecimal() else 1.0
    return min(max(seconds, 0.05), _LONGEST_WAIT)


def _error_of(answer: Answer) -> tuple[str | None, str]:
    """The server's code and message, as far as it says any."""
    try:
        error = json.loads(answer.body)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        text = " ".join(answer.body[:_SHOWN].decode("utf-8", "replace").split())
        return None, f"refused: {text or 'without a reason'}"


def _checked_address(url: str, package: Any) -> Any:
    try:
        address = package.URL(url)
    except (package.InvalidURL, TypeError) as error:
        raise RemoteError(f"{url}: expected an address such as http://host:8080: {error}") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise RemoteError(f"{url}: expected an address such as http://host:8080")
    return address


def _checked_token(token: str) -> str:
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise RemoteError("token: expected visible ASCII characters without spaces")
    return token
