"""Write what was found out: tables as CSV, all sums as one JSON document."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

import motrail
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from motrail.analyze.question import Block, Question
    from motrail.analyze.run import Analysis

_CHUNK = 20_000
_LEADS = ("=", "+", "-", "@", "\t", "\r")


class PathsFile:
    """`paths.csv`: a line for each box, object by object.

    Args:
        path: The file.
        question: What is asked; it knows the unit.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path, question: Question) -> None:
        self._path = path
        self._question = question
        unit = question.unit
        with writing(path):
            self._file = path.open("w", encoding="utf-8", newline="")
        self._file.write(
            f"id,frame,time_s,class,group,pixel_x,pixel_y,x_{unit},y_{unit},speed_{unit}_s,"
            f"speed_low_{unit}_s,speed_high_{unit}_s,acceleration_{unit}_s2,distance_{unit}\n"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self._path):
            self._file.close()

    def add(self, block: Block) -> None:
        """Write the rows of some objects.

        Raises:
            OutputError: The disk is full.
        """
        rows, movement, question = block.rows, block.movement, self._question
        # The way since the object's first box.
        total = np.cumsum(movement.length)
        first = np.flatnonzero(np.diff(rows.ids, prepend=rows.ids[0] - 1))
        sizes = np.diff(np.append(first, len(total)))
        total = total - np.repeat(total[first] - movement.length[first], sizes)
        numbers = np.column_stack(
            [block.pixels, movement.xy, movement.speed, movement.low, movement.high,
             movement.acceleration, total]
        )  # fmt: skip
        names: dict[tuple[int, int], str] = {}
        for begin in range(0, len(rows.ids), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            lines = []
            for number, frame, time, kind, values in zip(
                rows.ids[part].tolist(),
                rows.frames[part].tolist(),
                block.times[part].tolist(),
                rows.class_ids[part].tolist(),
                numbers[part].tolist(),
                strict=True,
            ):
                named = names.get((number, kind))
                if named is None:
                    both = (question.class_name(kind), question.group_name(number, kind))
                    named = names[number, kind] = ",".join(map(_quoted, both))
                cells = ",".join("" if v != v else f"{v:.3f}" for v in values)  # noqa: PLR0124
                lines.append(f"{number},{frame},{time:.4f},{named},{cells}\n")
            with writing(self._path):
                self._file.writelines(lines)


def write_tables(folder: Path, found: Analysis) -> None:
    """Write `objects.csv`, `crossings.csv`, `visits.csv`, `occupancy.csv` and `analysis.json`.

    Raises:
        OutputError: They cannot be written.
    """
    unit = found.question.unit
    objects = object_rows(found)
    heading = list(objects[0]) if objects else ["id"]
    _write_csv(folder / "objects.csv", heading, ([*row.values()] for row in objects))
    kinds = {row["id"]: (row["class"], row["group"]) for row in objects}
    _write_csv(
        folder / "crossings.csv",
        ["line", "id", "class", "group", "direction", "time_s", "frame", "pixel_x", "pixel_y",
         "unseen"],
        ([line, number, *kinds[number], *rest] for line, number, *rest in found.crossings),
    )  # fmt: skip
    _write_csv(
        folder / "visits.csv",
        ["zone", "id", "class", "group", "enter_s", "leave_s", "dwell_s"],
        ([zone, number, *kinds[number], *rest] for zone, number, *rest in found.visits),
    )
    _write_csv(
        folder / "occupancy.csv",
        ["zone", "group", "start_s", "objects"],
        (
            [zone, group, place * found.bin_seconds, value]
            for zone, groups in found.occupancy.items()
            for group, values in groups.items()
            for place, value in enumerate(values.tolist())
        ),
    )
    heat = found.heat
    document = as_dict(found) | {
        "heat": {
            "unit": unit,
            "low": heat.low,
            "high": heat.high,
            "seconds": np.round(heat.seconds, 3).tolist(),
        }
    }
    path = folder / "analysis.json"
    with writing(path):
        path.write_text(
            json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n",
            encoding="utf-8",
            errors="replace",
        )


def object_rows(found: Analysis) -> list[dict[str, Any]]:
    """A row for each object, with units in the names; None where something is not known."""
    question, objects, unit = found.question, found.objects, found.question.unit
    columns: dict[str, Sequence[Any]] = {
        "id": objects.ids.tolist(),
        "class": [question.class_name(kind) for kind in objects.class_ids.tolist()],
        "group": [
            question.group_name(number, kind)
            for number, kind in zip(objects.ids.tolist(), objects.class_ids.tolist(), strict=True)
        ],
        "boxes": objects.boxes.tolist(),
        "first_s": _known(objects.first),
        "last_s": _known(objects.last),
        "followed_s": _known(objects.seen),
        "moving_s": _known(objects.moving),
        f"distance_{unit}": _known(objects.distance),
        f"mean_speed_{unit}_s": _known(objects.mean_speed),
        f"top_speed_{unit}_s": _known(objects.top),
        f"top_speed_low_{unit}_s": _known(objects.top_low),
        f"top_speed_high_{unit}_s": _known(objects.top_high),
        "top_speed_time_s": [
            time if math.isfinite(top) else None
            for time, top in zip(objects.top_time.tolist(), objects.top.tolist(), strict=True)
        ],
        f"top_acceleration_{unit}_s2": _known(objects.speeding_up),
    }
    for number, zone in enumerate(question.places.zones):
        columns[f"in {zone.name}_s"] = _known(objects.zones[:, number])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_dict(found: Analysis) -> dict[str, Any]:
    """All sums, for JSON."""
    question = found.question
    counts: dict[str, dict[str, int]] = {
        line.name: {"in": 0, "out": 0} for line in question.places.lines
    }
    for line, _, direction, *_ in found.crossings:
        counts[line][direction] += 1
    calibration = question.calibration
    return {
        "version": motrail.__version__,
        "unit": question.unit,
        "speed_unit": f"{question.unit}/s",
        "frame_rate": question.timing.rate,
        "frame_times": question.timing.source,
        "seconds": found.duration,
        "max_gap_s": question.max_gap,
        "interval": "95 %, of a Kalman smoother with the noise of the tracks themselves; errors of "
        "the calibration come on top",
        "calibration": None if calibration is None else calibration.as_dict(),
        "motion": {name: motion._asdict() for name, motion in found.motions.items()},
        "objects": object_rows(found),
        "lines": counts,
        "crossings": [
            dict(zip(("line", "id", "direction", "time_s", "frame", "pixel_x", "pixel_y",
                      "unseen"), row, strict=True))
            for row in found.crossings
        ],
        "zones": {
            zone.name: {
                "visits": sum(visit[0] == zone.name for visit in found.visits),
                "seconds": float(found.objects.zones[:, number].sum()),
            }
            for number, zone in enumerate(question.places.zones)
        },
        "visits": [
            dict(zip(("zone", "id", "enter_s", "leave_s", "dwell_s"), row, strict=True))
            for row in found.visits
        ],
        "occupancy": {
            "bin_s": found.bin_seconds,
            "zones": {
                zone: {group: values.tolist() for group, values in groups.items()}
                for zone, groups in found.occupancy.items()
            },
        },
        "notes": dict(found.notes),
    }  # fmt: skip


def _known(values: Any) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _quoted(text: str) -> str:
    """A name as a cell, which no spreadsheet takes for a formula."""
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow([_harmless(text)])
    return file.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_LEADS) else text


def _write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    def cell(value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, float):
            return f"{value:.3f}"
        return _harmless(value) if isinstance(value, str) else value

    with writing(path), path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([_harmless(name) for name in heading])
        table.writerows([cell(value) for value in row] for row in rows)
