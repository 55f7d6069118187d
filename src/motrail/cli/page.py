"""What the commands that open a page have in common: where it is served, and to whom."""

from __future__ import annotations

import importlib
import ipaddress
import re
import secrets
import sys
import warnings
import webbrowser
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from motrail.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from motrail.label.desk import Desk

PORT = 8642
_LEAST = 16  # characters of a token


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is served."""

    host: str
    port: int
    token: str
    public_url: str | None
    browser: bool

    @classmethod
    def of(
        cls, host: str, port: int, token_file: Path | None, public_url: str | None, *, browser: bool
    ) -> Address:
        """From a command's flags.

        Raises:
            ConfigError: The token or the proxy's address makes no sense.
        """
        return cls(host, port, _token(token_file), _public(public_url), browser)


def needing_label(run: Callable[[], None]) -> None:
    """Do something; what it lacks is said to be of the extra `label`."""
    try:
        _import_all()
        run()
    except MissingExtraError as error:
        if error.extra in ("video", "label"):
            raise MissingExtraError(error.package, "label", error.cause) from error
        raise


def serve_page(
    opened: Callable[[], AbstractContextManager[Desk]], address: Address, doing: str
) -> None:
    """Serve until a signal comes.

    Args:
        opened: Opens what is worked on, once there is a port to show it on.
        address: Where.
        doing: What to say is done, such as `labelling`.
    """
    from motrail.label import run
    from motrail.label.app import make_app
    from motrail.label.security import Door

    loopback = _is_loopback(address.host)
    with run.open_socket(address.host, address.port) as listener, opened() as desk:
        door = Door(address.token, listener.getsockname()[1], address.public_url, loopback)
        url = f"{address.public_url or run.address_of(listener)}/?token={address.token}"
        if not loopback:
            print(
                f"note: whoever reaches {address.host} and knows the address can label; put a "
                "proxy with HTTPS before it and name it with --public-url. One tab at a time "
                "writes a sequence",
                file=sys.stderr,
            )

        def ready() -> None:
            print(f"{doing} {desk.store.folder} at {url}", flush=True)
            if address.browser:
                webbrowser.open(url)

        run.run(make_app(desk, door), listener, ready=ready)


def _import_all() -> None:
    """Load what the server needs in the main thread, before any other runs."""
    for package in ("starlette", "uvicorn", "av", "cv2", "PIL"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(package, "label", error) from error
    # What Pillow thinks of strange pictures is no line for a terminal.
    warnings.filterwarnings("ignore", module="PIL")


def _public(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise ConfigError(
            f"--public-url: expected an address such as https://label.example.org, found {url!r}"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _token(path: Path | None) -> str:
    if path is None:
        return secrets.token_urlsafe(24)
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{{_LEAST},}}", token):
        raise ConfigError(
            f"{path}: expected a token of at least {_LEAST} ASCII letters, digits, - and _"
        )
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
