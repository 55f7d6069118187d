"""Fetching one file over http: resumed after a cut, limited in size, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import re
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from motrail.errors import OutputError
from motrail.outputs import output_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Progress = Callable[[int, int | None], None]

_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between the tries of one call
_CHUNK = 1 << 16


class FetchError(Exception):
    """What a server did wrong, said so that the server's name can stand before it."""

    def __init__(self, message: str, *, again: bool = False, subject: str = "") -> None:
        super().__init__(message)
        self.again = again
        self.subject = subject
        self.kept = False


def check_address(url: str) -> None:
    """See that it is an http or https address without a password.

    Raises:
        FetchError: It is not.
    """
    if "@" in url:  # keeps a password out of all messages
        raise FetchError("must not hold a user or password", subject="the address of the mirror")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise FetchError("is not an http or https address; see MOTRAIL_ZOO_URL")


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an `OSError` inside the block into an `OutputError` that says how to move the cache."""
    try:
        yield
    except OSError as error:
        message = str(output_error(path, error)).replace("with -o", "with MOTRAIL_CACHE")
        raise OutputError(message) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https only, and never from https back to http."""

    host: str = ""  # where the last one went, for the error message

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        goal = urlsplit(newurl)
        if goal.scheme != "https" and (goal.scheme != "http" or req.type == "https"):
            raise urllib.error.HTTPError(newurl, code, msg, headers, fp)
        self.host = goal.netloc.rpartition("@")[2]
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(redirects: _Redirects) -> urllib.request.OpenerDirector:
    # Not build_opener: that one also reads file:, ftp: and data: addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    opener.add_handler(redirects)
    return opener


class Transfer:
    """One file on its way: what is here of it, and what the server said about it."""

    def __init__(
        self, url: str, target: Path, *, expected: int, progress: Progress | None, timeout: float
    ) -> None:
        self.url, self.target = url, target
        self.part = target.with_name(f"{target.name}.part")
        self.notes = target.with_name(f"{target.name}.part.json")
        self.expected, self.limit = expected, 2 * expected
        self.progress, self.timeout = progress, timeout
        self.redirects = _Redirects()
        self.opener = _opener(self.redirects)
        self.reached = False

    def run(self, find_fault: Callable[[Path], str | None], sleep: Callable[[float], None]) -> None:
        """Bring the file to its place; `find_fault` says what is wrong with it, if anything."""
        resumed = self._size() > 0
        while True:
            self._complete(sleep)
            with storing(self.part):
                fault = find_fault(self.part)
            if fault is None:
                break
            self._discard()
            if not resumed:
                raise FetchError(f"sent something else than this model: {fault}")
            resumed = False  # the piece from an earlier call may be at fault: once without it
        with storing(self.target):
            self.part.replace(self.target)
            self.notes.unlink(missing_ok=True)

    def _complete(self, sleep: Callable[[float], None]) -> None:
        for pause in (*_PAUSES, None):
            try:
                return self._request()
            except FetchError as failure:
                failure.subject = failure.subject or self.redirects.host
                failure.kept = failure.again and self._resumable()
                # A host that cannot be reached at all will not be there a second later.
                if pause is None or not failure.again or not self.reached:
                    raise
                sleep(pause)
        return None

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard(self) -> None:
        with storing(self.part):
            self.part.unlink(missing_ok=True)
            self.notes.unlink(missing_ok=True)

    def _noted(self) -> dict[str, object]:
        """What was written down about the piece that is here; empty if it cannot be used."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) and notes.get("url") == self.url else {}

    def _resumable(self) -> bool:
        return self._size() > 0 and isinstance(self._noted().get("validator"), str)

    def _request(self) -> None:
        """Ask for what is missing and take what comes."""
        notes = self._noted()
        if self._size() and self._size() == notes.get("total"):
            return
        request = urllib.request.Request(self.url, headers={"User-Agent": "motrail"})  # noqa: S310 - check_address
        start = self._size() if self._resumable() else 0
        if start:
            request.add_header("Range", f"bytes={start}-")
            request.add_header("If-Range", str(notes["validator"]))
        response = self._open(request, start)
        if response is not None:
            with response:
                start, total = self._accept(response, start, notes)
                self._receive(response, start, total)

    def _open(self, request: urllib.request.Request, start: int) -> http.client.HTTPResponse | None:
        """The answer to `request`, or None if nothing is missing any more."""
        self.redirects.host = ""
        try:
            response: http.client.HTTPResponse = self.opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            self.reached = True
            with error:
                self._check_refusal(error, start)
            return None
        except urllib.error.URLError as error:
            raise self._no_connection(error.reason) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.reached = True
            raise self._broken(error) from error
        self.reached = True
        return response

    def _check_refusal(self, error: urllib.error.HTTPError, start: int) -> None:
        if error.code == 416:
            if start and error.headers.get("Content-Range") == f"bytes */{start}":
                return
            self._discard()
            raise FetchError("has no such part of the file", again=True)
        if 300 <= error.code < 400:
            goal = (error.headers.get("Location") or "nowhere").partition("?")[0]
            raise FetchError(f"redirects to {goal!r}, which is not followed")
        again = error.code in {408, 429} or error.code >= 500
        reason = http.client.responses.get(error.code, "unknown status")
        raise FetchError(f"answered {error.code} ({reason})", again=again)

    def _no_connection(self, reason: str | BaseException) -> FetchError:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return FetchError(
                f"has a certificate that is not trusted ({reason.verify_message}; if your network "
                "has an authority of its own, name its file in SSL_CERT_FILE)"
            )
        if isinstance(reason, socket.gaierror):
            text = "was not found by its name (offline, or a proxy needed: set HTTPS_PROXY)"
        elif isinstance(reason, ConnectionRefusedError):
            text = "refused the connection"
        elif isinstance(reason, TimeoutError):
            text = f"did not answer within {self.timeout:g} s"
        else:
            text = f"cannot be reached ({' '.join(str(reason).split())})"
        return FetchError(text, again=True)

    def _broken(self, error: Exception) -> FetchError:
        if isinstance(error, TimeoutError):
            return FetchError(f"sent nothing for {self.timeout:g} s", again=True)
        if isinstance(error, ValueError | http.client.InvalidURL):
            return FetchError("is not an address that can be asked for")
        return FetchError(f"broke off ({type(error).__name__})", again=True)

    def _accept(
        self, response: http.client.HTTPResponse, start: int, notes: dict[str, object]
    ) -> tuple[int, int | None]:
        """Where the body belongs and how long the whole file is.

        A web page leaves the piece that is here alone: it comes from a proxy, not from the server.
        """
        if response.headers.get_content_type() == "text/html":
            raise FetchError("sent a web page instead of a model (a log-in page?)")
        total: int | None
        if response.status == 206:
            total = self._next_piece(response, start, notes)
        elif response.status == 200:
            start, total = 0, response.length
        else:
            raise FetchError(f"answered {response.status} instead of 200")
        if total is not None and total > self.limit:
            raise self._too_large(total)
        if not start:
            known = {"url": self.url, "validator": _validator(response), "total": total}
            with storing(self.part):
                self.part.write_bytes(b"")
                self.notes.write_text(json.dumps(known), encoding="utf-8")
        return start, total

    def _next_piece(
        self, response: http.client.HTTPResponse, start: int, notes: dict[str, object]
    ) -> int:
        """Length of the whole file, if the answer goes on exactly where we stopped."""
        text = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", text, re.ASCII)
        if (
            found
            and int(found[1]) == start > 0
            and notes.get("total") in {None, int(found[2])}
            and _validator(response) in {None, notes.get("validator")}
        ):
            return int(found[2])
        self._discard()
        raise FetchError("changed the file while it was being sent", again=True)

    def _too_large(self, length: int) -> FetchError:
        return FetchError(f"sends {length} bytes or more, expected about {self.expected}")

    def _receive(self, response: http.client.HTTPResponse, size: int, total: int | None) -> None:
        limit = self.limit if total is None else total
        with storing(self.part), self.part.open("ab") as file:
            self._report(size, total)
            while size <= limit and (chunk := self._read(response)):
                file.write(chunk)
                size += len(chunk)
                self._report(size, total)
        if size > limit:
            self._discard()
            raise self._too_large(size)
        if total is not None and size < total:
            raise FetchError(f"cut the connection after {size} of {total} bytes", again=True)

    def _report(self, size: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(size, total)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error


def _validator(response: http.client.HTTPResponse) -> str | None:
    # RFC 9110, 13.1.5: a weak tag must not be used to join two pieces.
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; wait as long as another process or thread does."""
    with storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        while not _locked(descriptor, path):
            os.close(descriptor)
            time.sleep(0.05)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield
    finally:
        if sys.platform == "win32":  # where an open file cannot be removed
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
        else:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems cannot lock at all; there the checksum alone must do.
        return error.errno not in {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
    try:  # who held it before removes it when done; then ours is a file without a name
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
