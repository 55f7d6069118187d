"""`motrail batch`."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

import motrail
from motrail.batch.find import KEPT, find_videos
from motrail.batch.worker import prepare
from motrail.cli.output import AsJson, print_json, table
from motrail.cli.progress import download_progress, steps_progress
from motrail.cli.settings import flags_of, resolve_settings
from motrail.errors import MissingExtraError
from motrail.workers import Pool, cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.batch.detect import Load
    from motrail.batch.manifest import Outcome
    from motrail.batch.run import Batch, Workers
    from motrail.config import DetectorSettings, Preset
    from motrail.detect.bundle import Bundle

DetectorFlags: Any = flags_of("detector")
TrackerFlags: Any = flags_of("tracker")
RefineFlags: Any = flags_of("refine")
VideoFlags: Any = flags_of("video")

PARTLY_DONE = 3
_EARLY = 4
"""Processes that are started before it is known how many are of use."""
EXTRAS = ("detect", "video")


def batch_command(
    source: str,
    output: Path,
    *,
    model: Annotated[str, Parameter(name=("--model", "-m"))],
    video: Annotated[bool, Parameter(negative="--no-video")] = False,
    chunk: int | None = None,
    shard: str | None = None,
    associate: Annotated[bool, Parameter(negative="")] = False,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: AsJson = False,
    detector: DetectorFlags = None,
    tracker: TrackerFlags = None,
    refine: RefineFlags = None,
    clip: VideoFlags = None,
) -> int:
    """Track many videos, or very long ones, with all the cores or machines there are.

    Videos are cut into chunks, which are detected in any order by several workers and kept in
    OUTPUT/detections; then each video is tracked from what was kept, which takes no network and
    gives the same track file as motrail track. The same command goes on where it stopped, and with
    other tracker settings it tracks anew without detecting again. A video that cannot be read is
    reported at the end and does not stop the others. `OUTPUT/batch.json` says what became of each.

    For example:

    - `motrail batch footage/ out --model model.tar.gz`
    - `motrail batch 'in/*.mp4' out --model yolox-s --classes person --workers 8`
    - `motrail batch list.txt out --model yolox-s --match-threshold 0.9`
    - On eight machines that share a folder: `motrail batch footage/ out -m yolox-s --shard 1/8`
      to `8/8`, then once `motrail batch footage/ out -m yolox-s --associate`

    Parameters
    ----------
    source
        A folder, searched with all below; a video; a folder of images; a quoted pattern such as
        'in/*.mp4'; or a .txt file with one of these on each line.
    output
        Folder for the results: NAME.txt for each video, and what is needed to go on.
    model
        A model bundle, an .onnx file together with --preset, or a name such as yolox-s.
    video
        Draw the tracks into NAME.mp4, too.
    chunk
        Frames in a chunk. [default: an eighth of the video, from 100 to 1000, or to 5 groups of
        pictures where those are long]
    shard
        Detect in one share of the chunks and track nothing: 2/8 is the second of eight.
    associate
        Track what is detected, and detect nothing.
    config
        TOML file with sections [detector], [tracker], [refine] and [video]; flags win over it.
    as_json
        Print what was done as one JSON document (docs/batch.md names its fields).
    """
    flags = {"detector": detector, "tracker": tracker, "refine": refine, "video": clip}
    start = time.monotonic()
    try:
        with Pool(prepare) as workers:
            batch, document = _prepare(
                source, output, model, config, flags,
                {"chunk": chunk, "shard": shard, "only_associate": associate, "video": video},
                workers,
            )  # fmt: skip
            with steps_progress() as progress:
                batch.run(workers, progress)
    except MissingExtraError as error:
        if error.extra in EXTRAS:  # who lacks one of them should not be told of the other later
            raise MissingExtraError(error.package, ",".join(EXTRAS), error.cause) from error
        raise
    outcomes = list(batch.outcomes.values())
    if as_json:
        rows = [dataclasses.asdict(outcome) for outcome in outcomes]
        print_json(document | {"seconds": time.monotonic() - start, "videos": rows})
    else:
        _show(outcomes, output, shard)
    return _explain(outcomes, detected_only=shard is not None)


def _prepare(
    source: str,
    output: Path,
    model: str,
    config: Path | None,
    flags: dict[str, Any],
    ways: dict[str, Any],
    workers: Workers,
) -> tuple[Batch, dict[str, Any]]:
    """The run to be, and what to say of how it was made."""
    # What is quick to check comes first: settings and footage before a download.
    detector = resolve_settings(flags, config).settings.detector
    videos = find_videos(source, output)
    if not ways["only_associate"] and not (output / KEPT).exists():
        # There is much to do: processes begin to import what they need while all is made ready.
        workers.start(min(detector.workers or cores(), _EARLY))
    from motrail.batch.run import Batch, Options, Shard
    from motrail.detect.detector import find_bundle

    shard = None if ways["shard"] is None else Shard.parse(ways["shard"])
    options = Options(**ways | {"shard": shard})
    with download_progress(model) as download:
        bundle, preset = find_bundle(model, progress=download)
    settings = resolve_settings(flags, config, bundle).settings
    load, names, device = _open(bundle, preset, settings.detector, output)
    if device in ("cpu", "openvino"):  # a process for each, else as many frames in one process
        options = dataclasses.replace(options, workers=settings.detector.workers or cores())
    keep = [path for path in (source, model, config, settings.detector.labels) if path]
    options = dataclasses.replace(options, keep=tuple(keep))
    document = {
        "version": motrail.__version__,
        "model": model,
        "device": device,
        "workers": options.workers,
        "shard": ways["shard"],
        "settings": dataclasses.asdict(settings),
    }
    return Batch(videos, load, names, settings, output, options), document


def _open(
    bundle: Bundle, preset: Preset | None, settings: DetectorSettings, output: Path
) -> tuple[Load, Sequence[str], str]:
    """What a worker needs, the names of the classes and the device; what is wrong, at once."""
    from motrail.batch.detect import Load
    from motrail.detect.detector import open_detector
    from motrail.detecting import fingerprint

    detector = open_detector(bundle, settings, preset)
    if detector.device in ("cpu", "openvino"):
        settings = dataclasses.replace(settings, workers=1)
    made_by = fingerprint(bundle, settings)
    load = Load(bundle, settings, preset, made_by, output / KEPT)
    return load, detector.class_names, detector.device


def _show(outcomes: Sequence[Outcome], output: Path, shard: str | None) -> None:
    rows: list[tuple[Any, ...]]
    if shard is not None:
        rows = [("video", "state", "chunks", "by this shard", "missing")]
        rows += [(item.name, _state(item, detected_only=True), *_chunks(item)) for item in outcomes]
    else:
        rows = [("video", "state", "frames", "tracks", "boxes")]
        rows += [(item.name, _state(item), *_counts(item)) for item in outcomes]
    print(table(rows))
    if shard is not None:
        print(f"shard {shard}: {sum(item.chunks_now for item in outcomes):,} chunks detected")
    print(f"written  {output}")


def _state(item: Outcome, *, detected_only: bool = False) -> str:
    if detected_only and item.state == "waiting":
        return "partly detected" if item.chunks_missing < item.chunks else "not detected"
    if item.kept and item.state == "done":
        return "there already"
    return {"partly": "partly done", "waiting": "not done"}.get(item.state, item.state)


def _chunks(item: Outcome) -> tuple[str, ...]:
    if item.kept or not item.chunks:
        return ("–", "–", "–")
    return tuple(f"{count:,}" for count in (item.chunks, item.chunks_now, item.chunks_missing))


def _counts(item: Outcome) -> tuple[str, ...]:
    if item.state not in ("done", "partly"):
        return ("–", "–", "–")
    return tuple(f"{value:,}" for value in (item.frames, item.tracks, item.boxes))


def _explain(outcomes: Sequence[Outcome], *, detected_only: bool) -> int:
    """Say what is not done; the exit code."""
    for item in outcomes:
        if item.reason is not None and not (detected_only and item.state == "waiting"):
            print(f"{item.name}: {_state(item)}: {item.reason}", file=sys.stderr)
        if item.broken_frames:
            print(
                f"{item.name}: note: {item.broken_frames} frames could not be decoded",
                file=sys.stderr,
            )
    states = Counter(item.state for item in outcomes)
    good = states["done"] + (states["detected"] + states["waiting"] if detected_only else 0)
    if good == len(outcomes):
        return 0
    return PARTLY_DONE if good + states["partly"] else 1
