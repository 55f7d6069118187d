"""`motrail label`."""

from __future__ import annotations

import contextlib
from pathlib import Path  # noqa: TC003 (read by cyclopts)
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.page import PORT, Address, needing_label, serve_page
from motrail.cli.progress import download_progress
from motrail.cli.settings import flags_of, resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.config import Settings
    from motrail.label.desk import Desk

DetectorFlags: Any = flags_of("detector")
TrackerFlags: Any = flags_of("tracker")


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
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    detector: DetectorFlags = None,
    tracker: TrackerFlags = None,
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
    config
        TOML file with sections [detector] and [tracker] for the model; flags win over it.
    """
    names = [name.strip() for name in (classes or "").split(",") if name.strip()]
    flags = {"detector": detector, "tracker": tracker}

    @contextlib.contextmanager
    def opened() -> Iterator[Desk]:
        from motrail.label.desk import Desk
        from motrail.label.project import open_project

        settings = _settings(model, flags, config)
        with contextlib.closing(open_project(sources, output, classes=names, split=split)) as store:
            yield Desk(store, model=model, settings=settings, saved_frames=frames)

    def serve() -> None:
        if not sources and output is None:
            raise ConfigError("expected a video, a folder of images or a dataset")
        address = Address.of(host, port, token_file, public_url, browser=browser)
        serve_page(opened, address, "labelling")

    needing_label(serve)
    return 0


def _settings(model: str | None, flags: dict[str, Any], config: Path | None) -> Settings | None:
    """Of the model; it is fetched now if it has to be, so that nobody waits for it later.

    Raises:
        ConfigError: A setting makes no sense, or there is no model to set.
        ModelError: There is no model of that name.
    """
    if model is None:
        if config is not None or any(flags.values()):
            raise ConfigError("there are settings of a model, and no model: name it with --model")
        return None
    from motrail.detect.detector import find_bundle

    resolve_settings(flags, config)
    with download_progress(model) as download:
        bundle, _ = find_bundle(model, progress=download)
    return resolve_settings(flags, config, bundle).settings
