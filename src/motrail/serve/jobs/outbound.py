"""Connections to elsewhere, made so that nobody can be talked into connecting inwards.

A name is looked up once, what comes out is checked, and the connection goes to exactly the address
that was checked: a second look-up could give another one (DNS rebinding). TLS is verified against
the name. No redirect is followed, no proxy is used, no content encoding is taken.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from motrail.errors import MotrailError
from motrail.outputs import writing
from motrail.serve.jobs.addresses import is_public

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.serve.jobs.addresses import Permit, Url

_PIECE = 1 << 16
_AGENT = "motrail"


class OutboundError(MotrailError):
    """Something elsewhere could not be reached, or answered otherwise than it should."""


def lookup(permit: Permit) -> list[str]:
    """The addresses of a host, seen to be permitted.

    Raises:
        OutboundError: The name is unknown, or one of its addresses is private, loopback,
            link-local or otherwise not of the open internet, and the operator did not ask for it.
    """
    host = permit.url.host
    try:
        found = socket.getaddrinfo(host, permit.url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise OutboundError(f"{host}: the name of the host is not known") from error
    addresses = list(dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found))
    for address in addresses:
        number = ipaddress.ip_address(address)
        # "localhost" is this machine and nothing else, whatever somebody's name server says.
        fine = number.is_loopback if host == "localhost" else permit.inward
        if not (is_public(number) or (permit.inward and fine)):
            raise OutboundError(f"{host}: belongs to a private network, which is not allowed")
    return addresses


class _Connection(http.client.HTTPConnection):
    """A connection to addresses that were checked, with the name in the headers and in TLS."""

    def __init__(self, url: Url, addresses: Sequence[str], seconds: float) -> None:
        super().__init__(url.host, url.port, timeout=seconds)
        self._addresses = addresses
        self._seconds = seconds
        self._secure = url.scheme == "https"
        # `sock` is forgotten as soon as an answer says that it is the last.
        self._line: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the first of the checked addresses that answers, and to no other."""
        self.sock = self._line = self._connected()
        if self._secure:
            context = ssl.create_default_context()
            # The handshake comes when the socket is known here, so that it can be cut, too.
            secure = context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock = self._line = secure
            secure.do_handshake()

    def _connected(self) -> socket.socket:
        share = self._seconds / len(self._addresses)
        for address in self._addresses[:-1]:
            with contextlib.suppress(OSError):
                return self._with_time(socket.create_connection((address, self.port), share))
        return self._with_time(socket.create_connection((self._addresses[-1], self.port), share))

    def _with_time(self, line: socket.socket) -> socket.socket:
        line.settimeout(self._seconds)
        return line

    def cut(self) -> None:
        """End it from another thread, whatever it waits for."""
        with contextlib.suppress(OSError):
            if self._line is not None:
                socket.socket.shutdown(self._line, socket.SHUT_RDWR)  # of TLS, the one below it


@contextlib.contextmanager
def request(
    permit: Permit,
    method: str,
    *,
    seconds: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send a request; the answer can be read until the end of the block.

    Args:
        permit: Where to.
        method: Of HTTP.
        seconds: Time for all of it, reading the answer included.
        body: To be sent.
        headers: To be sent with it.

    Raises:
        OutboundError: In the block too: nobody is there, the certificate is not right, the time is
            over.
    """
    url = permit.url
    deadline = time.monotonic() + seconds
    addresses = lookup(permit)
    connection = _Connection(url, addresses, max(deadline - time.monotonic(), 0.01))
    # A time limit of a socket begins anew with every byte; this one does not.
    watch = threading.Timer(max(deadline - time.monotonic(), 0.01), connection.cut)
    watch.daemon = True
    watch.start()
    sent = {
        "Host": url.authority,
        "User-Agent": _AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
        **(headers or {}),
    }
    try:
        connection.request(method, url.target, body, sent)
        with contextlib.closing(connection.getresponse()) as response:
            yield response
            if time.monotonic() > deadline:
                raise TimeoutError  # a connection that was cut reads like an end
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise OutboundError(f"{url.host}: {_reason(error, deadline, seconds)}") from error
    finally:
        watch.cancel()
        connection.close()
        watch.join()


def _reason(error: Exception, deadline: float, seconds: float) -> str:
    if isinstance(error, TimeoutError) or time.monotonic() > deadline:
        return f"no whole answer within {seconds:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not right: {error.verify_message}"
    if isinstance(error, http.client.HTTPException):
        return "it does not answer in HTTP"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def fetch(permit: Permit, path: Path, *, limit: int, seconds: float) -> int:
    """Fetch a file; gives its length in bytes.

    Args:
        permit: Where from.
        path: Where to.
        limit: Most bytes that are taken.
        seconds: Time in which it has to have arrived.

    Raises:
        OutboundError: It cannot be had, or is not what it says.
        OutputError: It cannot be written.
    """
    with request(permit, "GET", seconds=seconds) as response:
        host = permit.url.host
        if response.status != 200:
            also = "; redirects are not followed" if 300 <= response.status < 400 else ""
            raise OutboundError(f"{host}: expected status 200, found {response.status}{also}")
        if (response.getheader("Content-Encoding") or "identity").lower() != "identity":
            raise OutboundError(f"{host}: expected no content encoding, for it could be a bomb")
        announced = response.length
        too_much = OutboundError(f"{host}: expected at most {limit} bytes")
        if announced is not None and announced > limit:
            raise too_much
        length = 0
        with writing(path), path.open("wb") as file:
            while part := _read(response):
                length += len(part)
                if length > limit:
                    raise too_much
                file.write(part)
        if announced is not None and length != announced:
            raise OutboundError(f"{host}: expected {announced} bytes, found {length}")
    return length


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        # Not to be taken for a failure of the disk.
        raise OutboundError(f"the answer was broken off: {error}") from error
