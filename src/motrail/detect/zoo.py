"""The official YOLOX networks by name, fetched once into a folder of the user.

The weights are those of the YOLOX release 0.1.1rc0, trained on COCO (80 classes), under the
Apache-2.0 licence: https://github.com/Megvii-BaseDetection/YOLOX. They are not part of this
package. Every file is pinned by its SHA-256, so a mirror can serve them but not change them.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from motrail.errors import ModelError, OutputError
from motrail.outputs import output_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Progress = Callable[[int, int | None], None]

_RELEASE = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between the tries of one call
_CHUNK = 1 << 16
_MAX_FIELDS = 10_000  # a model has a dozen at its top level; a hostile file could have millions


@dataclass(frozen=True)
class ZooModel:
    """A network that can be fetched by name.

    Attributes:
        name: What the user calls it, such as `yolox-s`.
        url: Where the release keeps it; the last part is the file's name.
        preset: How its input is prepared and its output read; `yolox` is BGR, 0-255, letterbox at
            the top left, padded with 114.
        input_size: Side of the square input in pixels.
        approximate_bytes: Size of the file; what is more than twice as large is refused.
        sha256: Checksum in lower-case hex, or None where it is not known.
    """

    name: str
    url: str
    preset: str
    input_size: int
    approximate_bytes: int
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the file, at the release and in the cache."""
        return self.url.rpartition("/")[2]


def _yolox(size: str, input_size: int, length: int, sha256: str) -> ZooModel:
    return ZooModel(
        f"yolox-{size}", f"{_RELEASE}yolox_{size}.onnx", "yolox", input_size, length, sha256
    )


# Each sum is published alike by several projects that hashed the release's files independently.
_MODELS = {
    model.name: model
    for model in (
        _yolox(
            *("nano", 416, 3_659_407),
            "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        ),
        _yolox(
            *("tiny", 416, 20_219_662),
            "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
        ),
        _yolox(
            *("s", 640, 35_858_002),
            "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        ),
        _yolox(
            *("m", 640, 101_259_744),
            "21ff6cfdeb53b013bac2249599e55f00bff3cfdfdab37ed7a4620818c1d15b3f",
        ),
        _yolox(
            *("l", 640, 216_746_733),
            "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
        ),
        _yolox(
            *("x", 640, 396_142_663),
            "c892d7aaf1c4746d8a4d675bec669a4db4f434b4ee1efb654bc9b353379c7c55",
        ),
    )
}


def zoo_names() -> list[str]:
    """The known names, from the smallest network to the largest."""
    return list(_MODELS)


def is_zoo_name(name: str) -> bool:
    """Whether `name` is one that `fetch` knows."""
    return name in _MODELS


def zoo_model(name: str) -> ZooModel:
    """The entry of the table called `name`.

    Raises:
        ModelError: There is none; the message names those that come near.
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), _MODELS, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "give one of those or a file"
        raise ModelError(f"{name!r}: no such model; {hint} (known: {', '.join(_MODELS)})")
    return _MODELS[name]


def cache_folder() -> Path:
    """Where fetched models are kept; it need not exist yet.

    `MOTRAIL_CACHE` if set; else `motrail` in the system's folder for such files: `XDG_CACHE_HOME`
    or `~/.cache`, on macOS `~/Library/Caches`, on Windows `%LOCALAPPDATA%`.

    Raises:
        ModelError: The home folder is asked for and not known.
    """
    try:
        if own := os.environ.get("MOTRAIL_CACHE"):
            return Path(own).expanduser().absolute()
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "motrail"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "motrail"
        xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "motrail"
    except RuntimeError as error:
        raise ModelError(f"no folder to keep models in: {error}; set MOTRAIL_CACHE") from error


def fetch(
    name: str,
    *,
    cache: Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> Path:
    """The ONNX file of the model `name`, downloaded if it is not in the cache yet.

    A good file in the cache is returned without any network. A download that was cut, killed or
    interrupted goes on where it stopped, in the same call and in the next. The file appears under
    its name only when it is whole and its checksum is right. Of several calls at the same time one
    downloads and the others wait for it.

    Args:
        name: One of `zoo_names()`.
        cache: Folder for the file; left out: `cache_folder()`.
        base_url: http(s) address of a folder that holds the same files, such as a mirror inside a
            closed network; left out: the environment's `MOTRAIL_ZOO_URL`, else the release.
        progress: Called with the bytes present and, if known, the bytes in all.
        timeout: Seconds to wait for a connection and for each next piece of data.

    Returns:
        Absolute path of the file.

    Raises:
        ModelError: The name is unknown, or the file cannot be had: no network, an answer that says
            no, wrong content. The message says where to put a file fetched by hand.
        OutputError: The cache cannot be written: disk full, no permission.
    """
    return _fetch(
        zoo_model(name), cache=cache, base_url=base_url, progress=progress, timeout=timeout
    )


def _fetch(
    model: ZooModel,
    *,
    cache: Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    target = (cache or cache_folder()).absolute() / model.file_name
    if _in_cache(model, target):
        return target
    base = base_url or os.environ.get("MOTRAIL_ZOO_URL")
    url = f"{base.rstrip('/')}/{model.file_name}" if base else model.url
    try:
        _check_address(url)
        with _storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target.with_name(f"{target.name}.lock")):
            if not _in_cache(model, target):
                _Transfer(model, url, target, progress, timeout).run(sleep)
    except _FetchError as failure:
        host = urlsplit(model.url).netloc if url == model.url else url
        verb = "run this again to go on from there, or download" if failure.kept else "download"
        wrong = " in place of the file there, which is not it" if target.exists() else ""
        raise ModelError(
            f"{model.name}: {failure.subject or host} {failure}; {verb} {model.url} yourself and "
            f"put it at {target}{wrong}"
        ) from failure
    return target


class _FetchError(Exception):
    """What a server did wrong, said so that the server's name can stand before it."""

    def __init__(self, message: str, *, again: bool = False, subject: str = "") -> None:
        super().__init__(message)
        self.again = again
        self.subject = subject
        self.kept = False


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise _FetchError("is not an http or https address; see MOTRAIL_ZOO_URL")
    if "@" in parts.netloc:  # and keep the password out of the message
        raise _FetchError("must not hold a user or password", subject="the address of the mirror")


@contextlib.contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = str(output_error(path, error)).replace("with -o", "with MOTRAIL_CACHE")
        raise OutputError(message) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https only, and never from https back to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise urllib.error.HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener: that one also reads file:, ftp: and data: addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler(), urllib.request.HTTPHandler()),
        *(urllib.request.HTTPSHandler(), urllib.request.HTTPDefaultErrorHandler()),
        *(_Redirects(), urllib.request.HTTPErrorProcessor(), urllib.request.UnknownHandler()),
    ):
        opener.add_handler(handler)
    return opener
