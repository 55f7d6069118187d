"""`motrail analyze`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from motrail.cli.output import AsJson, parse_size, print_json, print_notes, table
from motrail.cli.progress import steps_progress
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from motrail.analyze.run import Analysis

_MOST = 12


def analyze_command(
    tracks: Path | None = None,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    video: Annotated[str | None, Parameter(name=("--video", "-v"))] = None,
    calibration: Path | None = None,
    zones: Path | None = None,
    frame_rate: float | None = None,
    size: str | None = None,
    max_gap: float = 1.0,
    template: str | None = None,
    frame: int = 1,
    as_json: AsJson = False,
) -> int:
    """Say where objects went, how fast and how far, which zones they were in, what they crossed.

    Into the new folder come report.html to look at, paths.csv (a line for each box), objects.csv,
    crossings.csv, visits.csv, occupancy.csv, and all sums in analysis.json. An object stands where
    the middle of the lower side of its box is. Speeds are metres a second with --calibration, and
    pixels a second without; each has its 95 % interval. The camera must stand still.

    For example:

    - `motrail analyze out/match.txt --video match.mp4 -o analysis`
    - `motrail analyze --template match.mp4 -o calibration.toml`
    - `motrail analyze out/match.txt --video match.mp4 --calibration calibration.toml -o analysis`
    - `motrail analyze out/match.txt --frame-rate 25 --zones zones.toml -o analysis --json`

    Parameters
    ----------
    tracks
        A track file.
    output
        Folder for the results, new or empty; with --template the file to be written.
    video
        The footage, for the times of frames, the size of pictures and one to draw on.
    calibration
        TOML file with four or more points that are known in the picture and on the ground.
    zones
        TOML file with zones, lines and teams.
    frame_rate
        Frames a second; wins over the times in the video.
    size
        Width and height of the pictures, as in 1920x1080, where there is no video.
    max_gap
        Seconds without a box up to which a path is bridged.
    template
        Write a calibration file to be filled in, and a picture with a grid, for this footage.
    frame
        The frame to draw on, counted from 1.
    as_json
        Print all sums as one JSON document.
    """
    if template is not None:
        if tracks is not None:
            raise ConfigError("--template: needs no tracks; give it alone, with -o")
        from motrail.analyze.template import write_template

        for path in write_template(template, output, frame):
            print(f"written {path}")
        return 0
    if tracks is None:
        raise ConfigError("expected a track file; see motrail analyze --help")
    from motrail.analyze.files import Inputs, analyze_file

    inputs = Inputs(tracks, video, calibration, zones, frame_rate, parse_size(size), max_gap, frame)
    with steps_progress() as progress:
        found = analyze_file(inputs, output, progress=progress)
    if as_json:
        from motrail.analyze.write import as_dict

        print_json(as_dict(found))
    else:
        _show(found, output)
        print_notes(found.notes)
    return 0


def _show(found: Analysis, output: Path) -> None:
    from motrail.analyze.write import object_rows

    unit = found.question.unit
    rows: list[tuple[str | int, ...]] = [
        ("id", "group", "seconds", f"distance {unit}", f"mean {unit}/s", f"top {unit}/s", "95 %")
    ]
    objects = sorted(object_rows(found), key=lambda row: -(row[f"distance_{unit}"] or 0))
    for row in objects[:_MOST]:
        top = row[f"top_speed_{unit}_s"]
        low, high = row[f"top_speed_low_{unit}_s"], row[f"top_speed_high_{unit}_s"]
        known = top is not None
        rows.append(
            (
                str(row["id"]),
                row["group"],
                f"{row['followed_s']:.1f}",
                f"{row[f'distance_{unit}']:.1f}",
                f"{row[f'mean_speed_{unit}_s']:.2f}" if known else "",
                f"{top:.2f}" if known else "",
                f"{low:.2f} to {high:.2f}" if known else "",
            )
        )
    print(table(rows))
    if len(objects) > _MOST:
        print(f"and {len(objects) - _MOST:,} more, see {output / 'objects.csv'}")
    for line in found.question.places.lines:
        directions = [row[2] for row in found.crossings if row[0] == line.name]
        print(f"line {line.name}: {directions.count('in')} in, {directions.count('out')} out")
    for zone in found.question.places.zones:
        stays = [row[4] for row in found.visits if row[0] == zone.name]
        mean = f", {sum(stays) / len(stays):.1f} s on average" if stays else ""
        print(f"zone {zone.name}: {len(stays)} visits{mean}")
    print(f"written {output / 'report.html'}")
