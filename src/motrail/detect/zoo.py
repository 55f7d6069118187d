"""The official YOLOX networks by name, fetched once into a folder of the user.

The weights are those of the YOLOX release 0.1.1rc0, trained on COCO (80 classes), under the
Apache-2.0 licence: https://github.com/Megvii-BaseDetection/YOLOX. They are not part of this
package. Every file is pinned by its SHA-256, so a mirror can serve them but not change them.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from motrail.detect.download import FetchError, Transfer, alone, check_address, storing
from motrail.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.config import Preset

    Progress = Callable[[int, int | None], None]

_RELEASE = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
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
    preset: Preset
    input_size: int
    approximate_bytes: int
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the file, at the release and in the cache."""
        return self.url.rpartition("/")[2]


# Each sum is published alike by several projects that hashed the release's files independently.
_TABLE = (
    ("nano", 416, 3_659_407, "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d"),
    ("tiny", 416, 20_219_662, "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7"),
    ("s", 640, 35_858_002, "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063"),
    ("m", 640, 101_259_744, "21ff6cfdeb53b013bac2249599e55f00bff3cfdfdab37ed7a4620818c1d15b3f"),
    ("l", 640, 216_746_733, "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411"),
    ("x", 640, 396_142_663, "c892d7aaf1c4746d8a4d675bec669a4db4f434b4ee1efb654bc9b353379c7c55"),
)
_MODELS = {
    f"yolox-{size}": ZooModel(
        f"yolox-{size}", f"{_RELEASE}yolox_{size}.onnx", "yolox", side, length, sha256
    )
    for size, side, length, sha256 in _TABLE
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
            folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Caches"
        else:
            xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
            folder = xdg if xdg.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise ModelError(f"no folder to keep models in: {error}; set MOTRAIL_CACHE") from error
    return folder / "motrail"


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
    transfer = Transfer(
        url, target, expected=model.approximate_bytes, progress=progress, timeout=timeout
    )
    try:
        check_address(url)
        with storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target.with_name(f"{target.name}.lock")):
            if not _in_cache(model, target):
                transfer.run(functools.partial(_fault, model), sleep)
    except FetchError as failure:
        raise ModelError(_advice(model, url, target, failure)) from failure
    return target


def _advice(model: ZooModel, url: str, target: Path, failure: FetchError) -> str:
    subject = failure.subject or (urlsplit(url).netloc if url == model.url else url)
    verb = "run this again to go on from there, or download" if failure.kept else "download"
    place = " in place of the file there, which is not this model" if target.exists() else ""
    return (
        f"{model.name}: {subject} {failure}; {verb} {model.url} yourself and put it at "
        f"{target}{place}"
    )


def _in_cache(model: ZooModel, target: Path) -> bool:
    try:
        return target.is_file() and _fault(model, target) is None
    except OSError as error:
        raise ModelError(f"{target}: cannot be read: {error.strerror}; make it readable") from error


def _fault(model: ZooModel, path: Path) -> str | None:
    """What is wrong with the file `path`; None if it is the model."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml")):
            return "a web page"
        if not _is_onnx(file, size):
            return "not an ONNX file, or not a whole one"
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if model.sha256 is not None and model.sha256 != found:
        return f"its SHA-256 is {found}, expected {model.sha256}"
    if 2 * size < model.approximate_bytes:
        return f"{size} bytes, expected about {model.approximate_bytes}"
    return None


def _is_onnx(file: IO[bytes], size: int) -> bool:
    """Whether `file` is, at the top level, a protobuf ModelProto with a version and a graph.

    Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, ModelProto.
    """
    file.seek(0)
    seen: set[tuple[int, int]] = set()
    for _ in range(_MAX_FIELDS):
        if file.tell() == size:
            return {(1, 0), (7, 2)} <= seen
        tag = _varint(file)
        if tag is None or tag >> 3 == 0:
            return False
        wire = tag & 7
        value = _varint(file) if wire in {0, 2} else 0
        length = {0: 0, 1: 8, 2: value, 5: 4}.get(wire)
        if value is None or length is None or file.tell() + length > size:
            return False
        file.seek(length, os.SEEK_CUR)
        seen.add((tag >> 3, wire))
    return False


def _varint(file: IO[bytes]) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
