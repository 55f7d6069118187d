"""`motrail label`."""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import re
import secrets
import sys
import warnings
import webbrowser
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (read by cyclopts)
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter

from motrail.cli.progress import download_progress
from motrail.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motrail.label.store import Store

PORT = 8642
_LEAST = 16  # characters of a token


def label_command(
    *sources: Path,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    classes: str | None = None,
    model: str | None = None,
    split: Literal["all", "train", "val", "test"] = "all",
    frames: Literal["auto", "all", "labelled"] = "auto",
    port: int = PORT,
    host: str = "127.0.0.1",
    browser: bool = True,
    token_file: Path | None = None,
    public_url: str | None = None,
) -> int:
    """Label videos in the browser: draw keyframes, the rest is filled in.

    Opens a page on this machine. Every change is stored at once in DATASET/label.sqlite; saving
    on the page writes the dataset, which `motrail train` takes as it is and SageMaker Ground Truth
    in its own layout. Ctrl-C ends it, and the same command goes on where you were.

    For example:

    - `motrail label match.mp4 -o dataset --classes player,ball`
    - `motrail label dataset` (go on, or correct a dataset made by `motrail dataset import`)
    - `motrail label more.mp4 -o dataset --model run/model.tar.gz`

    Parameters
    ----------
    sources
        Videos, folders of images and datasets; none to go on with what is in --output.
    output
        The dataset that is written; without it the one source, a dataset, is corrected in place.
    classes
        Names of the classes, separated by commas; more can be added on the page.
    model
        A model bundle or a name such as yolox-s, whose tracks are proposed for the rest.
    split
        The part of the dataset that new videos go to: all, train, val or test.
    frames
        Which frames of a video are saved as images: all; from the first to the last labelled one;
        or all where at least half of them lie between these, so that little of a long video can
        be labelled.
    port
        Port to listen on; 0 takes a free one.
    host
        Address to listen on; others than this machine's own are for a team behind a proxy.
    browser
        Open the page in the browser.
    token_file
        File with the token of the address, so that it stays the same; a new one each time if
        left out.
    public_url
        Where a proxy shows the page, such as https://label.example.org.
    """
    try:
        _import_all()
        names = [name.strip() for name in (classes or "").split(",") if name.strip()]
        if not sources and output is None:
            raise ConfigError("expected a video, a folder of images or a dataset")
        address = _Address(host, port, _token(token_file), _public(public_url), browser=browser)
        _find(model)
        with _opened(sources, output, names, split) as store:
            _serve(store, model, frames, address)
    except MissingExtraError as error:
        if error.extra in ("video", "label"):
            raise MissingExtraError(error.package, "label", error.cause) from error
        raise
    return 0


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int
    token: str
    public_url: str | None
    browser: bool


@contextlib.contextmanager
def _opened(
    sources: Sequence[Path], output: Path | None, classes: Sequence[str], split: str
) -> Iterator[Store]:
    from motrail.label.project import open_project

    store = open_project(sources, output, classes=classes, split=split)
    try:
        yield store
    finally:
        store.close()


def _serve(
    store: Store, model: str | None, frames: Literal["auto", "all", "labelled"], address: _Address
) -> None:
    from motrail.label import run
    from motrail.label.app import make_app
    from motrail.label.desk import Desk
    from motrail.label.security import Door

    loopback = _is_loopback(address.host)
    with run.open_socket(address.host, address.port) as listener:
        door = Door(address.token, listener.getsockname()[1], address.public_url, loopback)
        app = make_app(Desk(store, model=model, saved_frames=frames), door)
        url = f"{address.public_url or run.address_of(listener)}/?token={address.token}"
        if not loopback:
            print(
                f"note: whoever reaches {address.host} and knows the address can label; put a "
                "proxy with HTTPS before it and name it with --public-url. One tab at a time "
                "writes a sequence",
                file=sys.stderr,
            )

        def ready() -> None:
            print(f"labelling {store.folder} at {url}", flush=True)
            if address.browser:
                webbrowser.open(url)

        run.run(app, listener, ready=ready)


def _find(model: str | None) -> None:
    """Fetch a model now if it has to be fetched, so that nobody waits for it later.

    Raises:
        ModelError: There is none of that name.
    """
    if model is not None:
        from motrail.detect.detector import find_bundle

        with download_progress(model) as download:
            find_bundle(model, progress=download)


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
