"""`motrail track`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

import motrail
from motrail.cli.progress import download_progress, frames_progress, steps_progress
from motrail.cli.settings import flags_of, resolve_settings
from motrail.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from motrail.config import Settings
    from motrail.tracking import Summary

DetectorFlags: Any = flags_of("detector")
TrackerFlags: Any = flags_of("tracker")
RefineFlags: Any = flags_of("refine")
VideoFlags: Any = flags_of("video")

PARTLY_DONE = 3
EXTRAS = ("detect", "video")


def track_command(
    source: str,
    *,
    model: Annotated[str, Parameter(name=("--model", "-m"))],
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    video: Annotated[bool, Parameter(negative="--no-video")] = True,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    detector: DetectorFlags = None,
    tracker: TrackerFlags = None,
    refine: RefineFlags = None,
    clip: VideoFlags = None,
) -> int:
    """Follow every object in a video.

    Into the output folder come `NAME.txt` (a line per object and frame: frame, id, left, top,
    width, height, score, class, visibility), `labels.txt` (the names of the classes) and
    `NAME.mp4` (the video with every object boxed, numbered and followed). With --offline (or
    --max-gap, --smoothing, --min-length, --weak-length) the tracks are refined when all frames are
    known; the video then shows the refined ones, for which the source is read twice.

    For example:

    - `motrail track match.mp4 --model yolox-s --classes person -o out`
    - `motrail track frames/ --model model.tar.gz --stride 2 --lost-seconds 1.5`
    - `motrail track match.mp4 --model yolox-s --tracker steady --offline`
    - `motrail track belt.mp4 --model parcels.onnx --preset yolox --labels names.txt --no-video`

    Parameters
    ----------
    source
        A video file, a folder of images, or a quoted pattern such as 'frames/*.jpg'.
    model
        A model bundle (folder or model.tar.gz), an .onnx file together with --preset, or a name:
        yolox-nano, -tiny, -s, -m, -l, -x (trained on the 80 classes of COCO, fetched once).
    output
        Folder for the results. [default: runs/NAME]
    video
        Whether to write the video; --no-video is faster.
    config
        TOML file with sections [detector], [tracker], [refine] and [video]; flags win over it.
    as_json
        Print the summary as one JSON document.
    """
    flags = {"detector": detector, "tracker": tracker, "refine": refine, "video": clip}
    try:
        summary, settings = _track(source, model, output, config, flags, video=video)
    except MissingExtraError as error:
        if error.extra in EXTRAS:  # who lacks one of them should not be told of the other later
            raise MissingExtraError(error.package, ",".join(EXTRAS), error.cause) from error
        raise
    if as_json:
        made_by = {"version": motrail.__version__, "model": model}
        document = summary.as_dict() | made_by | {"settings": dataclasses.asdict(settings)}
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        _print_summary(summary, settings)
    if summary.truncated is not None:
        print(f"{source}: partly done: {summary.truncated}", file=sys.stderr)
        return PARTLY_DONE
    return 0


def _track(
    source: str,
    model: str,
    output: Path | None,
    config: Path | None,
    flags: dict[str, Any],
    *,
    video: bool,
) -> tuple[Summary, Settings]:
    from motrail.detect.detector import find_bundle, open_detector
    from motrail.tracking import track_source
    from motrail.video.read import open_source

    # What is quick to check comes first: settings before a download, the video before the network.
    resolve_settings(flags, config)
    with download_progress(model) as download:
        bundle, preset = find_bundle(model, progress=download)
    settings = resolve_settings(flags, config, bundle).settings
    frames = open_source(
        source, start=settings.video.start, end=settings.video.end, stride=settings.video.stride
    )
    network = open_detector(bundle, settings.detector, preset)
    twice = video and settings.refine.active
    with _progress(frames.expected_frames, twice=twice) as progress:
        summary = track_source(
            frames,
            network,
            settings,
            output or Path("runs") / frames.name,
            video=video,
            keep=[path for path in (model, config, settings.detector.labels) if path],
            progress=progress,
        )
    return summary, settings


@contextlib.contextmanager
def _progress(total: int | None, *, twice: bool) -> Iterator[Callable[[Summary], None]]:
    """Show how far it is, in one pass or two."""
    if not twice:
        with frames_progress(total) as progress:
            yield progress
        return
    with steps_progress() as steps:

        def show(summary: Summary) -> None:
            if summary.drawn:
                steps("drawing", summary.drawn, summary.frames)
            else:
                steps("tracking", summary.frames, total)

        yield show


def _print_summary(summary: Summary, settings: Settings) -> None:
    seconds = summary.mean_length * settings.video.stride / summary.frame_rate
    speed = f"{summary.seconds:.1f} s, {summary.frames_per_second:.1f} fps on {summary.device}"
    length = f"{summary.mean_length:.1f} frames ({seconds:.1f} s)"
    lines = [
        ("frames", f"{summary.frames} in {speed}"),
        ("tracks", f"{summary.tracks}, seen in {length} on average"),
    ]
    if settings.refine.active:
        removed = f"{summary.removed_tracks} short or weak tracks left out"
        lines.append(("refined", f"{summary.filled_boxes} boxes filled in, {removed}"))
    if summary.broken_frames:
        lines.append(("broken", f"{summary.broken_frames} frames could not be decoded"))
    lines += [("written", path) for path in summary.files.values()]
    for name, text in lines:
        print(f"{name:>7}  {text}")
    if not summary.tracks:
        print(_why_nothing(summary, settings), file=sys.stderr)


def _why_nothing(summary: Summary, settings: Settings) -> str:
    if summary.best_score is None:
        return (
            f"note: nothing was detected with a score of {settings.detector.score_threshold} or "
            "more; is it the right model, and the right --preset for it?"
        )
    if summary.removed_tracks:
        if settings.refine.weak_length or settings.refine.weak_length_seconds:
            return (
                f"note: all {summary.removed_tracks} tracks were too short or too weak; lower "
                "--weak-score, --weak-length or --min-length"
            )
        return (
            f"note: all {summary.removed_tracks} tracks were seen in fewer than "
            f"{settings.refine.min_length} frames; lower --min-length"
        )
    return (
        f"note: the best detection has a score of {summary.best_score:.2f}, and a track begins at "
        f"{settings.tracker.new_track_threshold}; lower --new-track-threshold and "
        "--high-threshold, or check that the model and its --preset are right"
    )
