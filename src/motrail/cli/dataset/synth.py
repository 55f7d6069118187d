"""`motrail dataset synth`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, Output, parse_size, print_json, print_rows
from motrail.cli.progress import steps_progress
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from motrail.dataset.scenes import SceneSettings


def synth_command(
    *,
    output: Output,
    scene: Literal["football", "traffic", "conveyor"] = "football",
    seed: int = 0,
    clips: int = 1,
    frames: int = 100,
    size: str = "640x360",
    frame_rate: float = 25.0,
    difficulty: Literal["easy", "normal", "hard"] = "normal",
    objects: int | None = None,
    ball: Annotated[bool, Parameter(negative="")] = False,
    shadows: bool | None = None,
    motion_blur: bool | None = None,
    low_light: bool | None = None,
    camera_shake: bool | None = None,
    camera_pan: bool | None = None,
    occluders: bool | None = None,
    standard: Annotated[bool, Parameter(negative="")] = False,
    videos: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Make synthetic footage with perfect truth, as a dataset.

    Identities, boxes, the visible share of each object, its place in metres and the camera's
    homography are exact: they are counted on the pixels that were drawn. The same settings give
    the same pictures everywhere.

    For example:

    - `motrail dataset synth --scene football --seed 7 --frames 250 --videos -o match`
    - `motrail dataset synth --scene traffic --difficulty hard --low-light -o night`
    - `motrail dataset synth --standard -o football` (6 training, 2 validation, 2 test clips)

    Parameters
    ----------
    output
        The dataset folder to make; empty or not there yet.
    scene
        Teams on a pitch, cars at a junction, or parcels on a belt.
    seed
        Other seeds are other places, colours and movements; further clips count up from it.
    clips
        How many clips.
    frames
        Length of a clip.
    size
        WIDTHxHEIGHT of the pictures.
    frame_rate
        Frames a second.
    difficulty
        How many objects there are, how close together and how much alike, and what of the options
        below is on.
    objects
        How many objects the scene has. [default: by difficulty]
    ball
        Football: draw and label the ball, as a class of its own.
    shadows
        Shadows on the ground. [default: on]
    motion_blur
        Blur what moves. [default: on but for easy]
    low_light
        Dark and noisy. [default: off]
    camera_shake
        A camera that trembles. [default: on for hard]
    camera_pan
        A camera that turns slowly. [default: on for hard]
    occluders
        Things that stand in front. [default: on but for easy]
    standard
        The standard football set instead, with its own fixed settings.
    videos
        Write each clip as `videos/NAME.mp4`, too.
    as_json
        Print the summary as one JSON document.
    """
    from motrail.dataset.scenes import SceneSettings, standard_football
    from motrail.dataset.synth import write_scenes

    if standard:
        chosen = standard_football()
    else:
        width, height = parse_size(size) or (640, 360)
        first = SceneSettings(
            scene=scene,
            seed=seed,
            width=width,
            height=height,
            frames=frames,
            frame_rate=frame_rate,
            difficulty=difficulty,
            objects=objects,
            ball=ball,
            shadows=shadows,
            motion_blur=motion_blur,
            low_light=low_light,
            camera_shake=camera_shake,
            camera_pan=camera_pan,
            occluders=occluders,
        )
        chosen = _clips(first, clips)
    with steps_progress() as progress:
        summary = write_scenes(chosen, output, videos=videos, progress=progress)
    if as_json:
        print_json(summary.as_dict())
        return 0
    print_rows(
        [
            ("clips", f"{summary.sequences} with {summary.frames:,} frames"),
            ("labels", f"{summary.boxes:,} boxes of {summary.objects:,} objects"),
            ("written", summary.output),
        ]
    )
    return 0


def _clips(first: SceneSettings, count: int) -> list[tuple[str, str, SceneSettings]]:
    if not 1 <= count <= 10_000:
        raise ConfigError(f"--clips: expected 1 to 10,000, found {count}")
    seeds = range(first.seed, first.seed + count)
    return [
        ("all", f"{first.scene}-{seed}", dataclasses.replace(first, seed=seed)) for seed in seeds
    ]
