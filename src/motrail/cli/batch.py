"""`motrail batch`."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, table
from motrail.cli.progress import download_progress, steps_progress
from motrail.cli.settings import flags_of, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.batch.run import Batch, Outcome

DetectorFlags: Any = flags_of("detector")
TrackerFlags: Any = flags_of("tracker")
RefineFlags: Any = flags_of("refine")
VideoFlags: Any = flags_of("video")

PARTLY_DONE = 3


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
    reported at the end and does not stop the others. `batch.json` says what became of each.

    For example:

    - `motrail batch footage/ out --model model.tar.gz`
    - `motrail batch 'in/*.mp4' out --model yolox-s --classes person --workers 8`
    - `motrail batch list.txt out --model yolox-s --match-threshold 0.9`
    - On eight machines that share a folder: `motrail batch footage/ out -m yolox-s --shard 1/8`
      to `8/8`, then once `motrail batch footage/ out -m yolox-s --associate`

    Parameters
    ----------
    source
        A folder, searched with all below; a video; a quoted pattern such as 'in/*.mp4'; or a .txt
        file with one of these on each line.
    output
        Folder for the results: NAME.txt for each video, and what is needed to go on.
    model
        A model bundle, an .onnx file together with --preset, or a name such as yolox-s.
    video
        Draw the tracks into NAME.mp4, too.
    chunk
        Frames in a chunk. [default: an eighth of the video, from 100 to 1000]
    shard
        Detect in one share of the chunks and track nothing: 2/8 is the second of eight.
    associate
        Track what is detected, and detect nothing.
    config
        TOML file with sections [detector], [tracker], [refine] and [video]; flags win over it.
    as_json
        Print what was done as one JSON document.
    """
    flags = {"detector": detector, "tracker": tracker, "refine": refine, "video": clip}
    from motrail.batch.plan import find_videos
    from motrail.batch.run import Options, Shard

    options = Options(
        chunk=chunk,
        shard=None if shard is None else Shard.parse(shard),
        only_associate=associate,
        video=video,
    )
    resolve_settings(flags, config)  # what is quick to check comes first
    videos = find_videos([source])
    batch = _prepare(model, config, flags, videos, output, options)
    with steps_progress() as progress:
        batch.run(progress)
    outcomes = list(batch.outcomes.values())
    if as_json:
        rows = [dataclasses.asdict(outcome) for outcome in outcomes]
        print_json({"videos": rows})
    else:
        _show(outcomes, output)
    return _explain(outcomes, detected_only=options.shard is not None)


def _prepare(
    model: str, config: Path | None, flags: dict[str, Any], videos: Any, output: Path, options: Any
) -> Batch:
    from motrail.batch.detect import Load
    from motrail.batch.plan import KEPT
    from motrail.batch.run import Batch
    from motrail.detect.detector import find_bundle, open_detector
    from motrail.detecting import fingerprint
    from motrail.workers import cores

    with download_progress(model) as download:
        bundle, preset = find_bundle(model, progress=download)
    settings = resolve_settings(flags, config, bundle).settings
    detector = open_detector(bundle, settings.detector, preset)  # what is wrong with it, at once
    wanted = settings.detector.workers
    if detector.device in ("cpu", "openvino"):
        options = dataclasses.replace(options, workers=wanted or cores())
        settings = dataclasses.replace(
            settings, detector=dataclasses.replace(settings.detector, workers=1)
        )
    made_by = fingerprint(bundle, settings.detector)
    load = Load(bundle, settings.detector, preset, made_by, output / KEPT)
    return Batch(videos, load, detector.class_names, settings, output, options)


def _show(outcomes: Sequence[Outcome], output: Path) -> None:
    rows: list[tuple[Any, ...]] = [("video", "state", "frames", "tracks", "boxes")]
    rows += [
        (item.name, "there already" if item.kept else item.state, *_counts(item))
        for item in outcomes
    ]
    print(table(rows))
    print(f"written  {output}")


def _counts(item: Outcome) -> tuple[str, ...]:
    if item.state not in ("done", "partly"):
        return ("–", "–", "–")
    return tuple(f"{value:,}" for value in (item.frames, item.tracks, item.boxes))


def _explain(outcomes: Sequence[Outcome], *, detected_only: bool) -> int:
    """Say what is not done; the exit code."""
    for item in outcomes:
        if item.reason is not None and not (detected_only and item.state == "waiting"):
            said = {"partly": "partly done", "waiting": "not done"}.get(item.state, item.state)
            print(f"{item.name}: {said}: {item.reason}", file=sys.stderr)
    states = Counter(item.state for item in outcomes)
    if states["failed"] == len(outcomes):
        return 1
    good = states["done"] + (states["detected"] + states["waiting"] if detected_only else 0)
    return 0 if good == len(outcomes) else PARTLY_DONE
