"""`motrail detect`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.output import AsJson, Output, print_json, table
from motrail.cli.progress import download_progress, steps_progress
from motrail.cli.settings import flags_of, resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.config import VideoSettings
    from motrail.detecting import Detected, Footage

DetectorFlags: Any = flags_of("detector")

PARTLY_DONE = 3


def detect_command(
    *sources: str,
    model: Annotated[str, Parameter(name=("--model", "-m"))],
    output: Output = Path("detections"),
    start: int = 1,
    end: int | None = None,
    stride: int = 1,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: AsJson = False,
    detector: DetectorFlags = None,
) -> int:
    """Keep what a detector sees in files, so that trackers can be tried and tuned without it.

    For each source NAME.txt has a line per box: frame, -1, left, top, width, height, score, class,
    visibility; `labels.txt` names the classes. What was made of the same frames by the same model
    stays as it is: an interrupted run goes on where it stopped.

    For example:

    - `motrail detect match.mp4 second.mp4 --model yolox-s --classes person -o detections`
    - `motrail detect data/val --model model.tar.gz -o detections`

    Parameters
    ----------
    sources
        Videos, folders of images, quoted patterns, datasets or their splits.
    model
        A model bundle, an .onnx file together with --preset, or a name such as yolox-s.
    output
        Folder for the detections.
    start
        First frame, counted from 1. Not with datasets, nor are --end and --stride.
    end
        Last frame; the end of the video if unset.
    stride
        Look at every n-th frame only.
    config
        TOML file with sections [detector] and [video]; flags win over it.
    as_json
        Print what was done as one JSON document.
    """
    from motrail.config import VideoSettings
    from motrail.detect.detector import find_bundle, open_detector
    from motrail.detecting import detect_all, fingerprint

    if not sources:
        raise ConfigError("expected at least one video, folder of images or dataset, found none")
    flags = {"detector": detector}
    resolve_settings(flags, config)  # what is quick to check comes first
    clip = VideoSettings(start=start, end=end, stride=stride)
    with download_progress(model) as download:
        bundle, preset = find_bundle(model, progress=download)
    settings = resolve_settings(flags, config, bundle).settings
    footage = [item for source in sources for item in _open(source, clip)]
    network = open_detector(bundle, settings.detector, preset)
    made_by = fingerprint(bundle, settings.detector)
    done: list[Detected] = []
    with steps_progress() as show:

        def progress(now: Detected, expected: int | None) -> None:
            show(f"detecting in {now.source}", now.frames, expected)

        done.extend(detect_all(footage, network, output, made_by=made_by, progress=progress))
    return _report(done, as_json=as_json)


def _open(source: str, clip: VideoSettings) -> Iterator[Footage]:
    from motrail.dataset.folder import is_dataset
    from motrail.dataset.pictures import picture_sources
    from motrail.detecting import Footage
    from motrail.video.read import open_source

    if is_dataset(Path(source)):
        if (clip.start, clip.end, clip.stride) != (1, None, 1):
            raise ConfigError(
                f"{source}: a dataset is looked at whole; leave out --start, --end and --stride"
            )
        for frames, numbers in picture_sources(Path(source)):
            yield Footage(frames, numbers)
        return
    yield Footage(open_source(source, start=clip.start, end=clip.end, stride=clip.stride))


def _report(done: list[Detected], *, as_json: bool) -> int:
    if as_json:
        print_json({"sources": [item.as_dict() for item in done]})
    else:
        rows: list[tuple[str | int, ...]] = [("source", "frames", "boxes", "fps")]
        rows += [
            (item.source, "–", "–", "there already")
            if item.kept
            else (item.source, item.frames, item.boxes, f"{item.frames_per_second:.1f}")
            for item in done
        ]
        print(table(rows))
    broken = [item for item in done if item.truncated is not None]
    for item in broken:
        print(f"{item.source}: partly done: {item.truncated}", file=sys.stderr)
    return PARTLY_DONE if broken else 0
