"""Which sources and webhooks the operator allows."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from motrail.errors import ConfigError
from motrail.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_MAX_URL = 2048
_URL = re.compile(r"https?://", re.IGNORECASE)
_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]+")


class Url(NamedTuple):
    """An http(s) address, taken apart and in one spelling.

    Attributes:
        scheme: `http` or `https`.
        host: In small letters, an IPv6 address without brackets.
        port: Also where the address leaves it out.
        path: Begins with a slash.
        query: Without the question mark.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """The content of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """What stands in the first line of a request."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Permit(NamedTuple):
    """An address that may be connected to.

    Attributes:
        url: The address.
        inward: Whether the operator named a private host by its number, or `localhost`.
    """

    url: Url
    inward: bool


def is_url(text: str) -> bool:
    """Whether this is meant as an http(s) address."""
    return _URL.match(text) is not None


def parse_url(text: str) -> Url:
    """Take an address apart.

    Raises:
        ValueError: It is none, or one of those that two programs may read differently: with a
            user, a fragment, a backslash, blanks, or `.` and `..` in its path.
    """
    if len(text) > _MAX_URL or not _VISIBLE.fullmatch(text) or "\\" in text:
        raise ValueError(f"expected at most {_MAX_URL} visible ASCII characters")
    parts = urlsplit(text)
    if parts.scheme not in _PORTS:
        raise ValueError("expected http:// or https://")
    if "@" in parts.netloc or "#" in text:
        raise ValueError("expected no user and no fragment")
    host = _canonical(parts.hostname or "")
    port = parts.port  # raises ValueError itself
    path = parts.path or "/"
    if _has_dots(path):
        raise ValueError("expected no '.' or '..' in the path")
    return Url(
        parts.scheme, host, _PORTS[parts.scheme] if port is None else port, path, parts.query
    )


def _canonical(host: str) -> str:
    host = host.lower().removesuffix(".")
    number = literal(host)
    if number is not None:
        return str(number)
    if host and (not _HOST.fullmatch(host) or ":" in host or ".." in host):
        raise ValueError("expected the name or the number of a host")
    return host


def literal(host: str) -> Address | None:
    """The host as a number, where it is one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _has_dots(path: str) -> bool:
    before = None
    while before != path:
        if any(part in (".", "..") for part in re.split(r"[/\\;]", path)):
            return True
        before, path = path, unquote(path, errors="replace")
    return False


class Allowed:
    """Folders and addresses that the operator allows.

    An address allows what begins with it: scheme, host and port are the same, the path begins with
    the same segments. `https://` alone allows every public host. A name that turns out to belong to
    a private network is refused all the same, unless it is `localhost` or a number that stands
    here.

    Args:
        entries: As in `allow` and `allow_webhooks`.
        name: Of the setting, for messages.
        folders: Whether folders may stand there.

    Raises:
        ConfigError: An entry is neither.
    """

    def __init__(self, entries: Iterable[str], name: str, *, folders: bool) -> None:
        self._urls: list[Url] = []
        self._folders: list[Path] = []
        for entry in entries:
            if is_url(entry):
                self._urls.append(_entry_url(entry, name))
            elif folders:
                folder = Path(entry).expanduser().resolve()
                if not folder.is_dir():
                    raise ConfigError(f"{name}: expected a folder or http(s)://…, found {entry!r}")
                self._folders.append(folder)
            else:
                raise ConfigError(f"{name}: expected http(s)://…, found {entry!r}")

    def url(self, text: str) -> Permit:
        """See that an address is allowed.

        Raises:
            Problem: 403; it is not.
        """
        try:
            url = parse_url(text)
        except ValueError:
            raise not_allowed() from None
        for entry in self._urls:
            if _begins(entry, url):
                return Permit(url, inward=_inward(entry))
        raise not_allowed()

    def file(self, text: str) -> Path:
        """See that a path leads to a file in an allowed folder, after following all links.

        Args:
            text: As the client gave it; a relative one is looked for in each folder.

        Returns:
            The real path.

        Raises:
            Problem: 403; it does not. Whether there is such a file is not told.
        """
        for folder in self._folders:
            path = _real_file(folder, text)
            if path is not None and any(path.is_relative_to(each) for each in self._folders):
                return path
        raise not_allowed()


def _real_file(folder: Path, text: str) -> Path | None:
    try:
        path = (folder / text).resolve(strict=True)
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL, too long a name
        return None


def not_allowed() -> Problem:
    """The answer for every address and path that is none of the client's business."""
    return Problem(
        403, "not_allowed", "this is not among the sources and addresses that the operator allows"
    )


def _entry_url(entry: str, name: str) -> Url:
    try:
        return parse_url(entry)
    except ValueError as error:
        raise ConfigError(f"{name}: {entry!r}: {error}") from None


def _begins(entry: Url, url: Url) -> bool:
    if not url.host or (entry.scheme, entry.port) != (url.scheme, url.port):
        return False
    if entry.host and entry.host != url.host:
        return False
    wanted, found = _segments(entry.path), _segments(url.path)
    return found[: len(wanted)] == wanted


def _segments(path: str) -> Sequence[str]:
    return path.removesuffix("/").split("/")


def _inward(entry: Url) -> bool:
    number = literal(entry.host)
    return entry.host == "localhost" or (number is not None and not is_public(number))


def is_public(address: Address) -> bool:
    """Whether an address belongs to the open internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
