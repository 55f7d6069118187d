"""Converting labels, against an honest plain way: `numpy.loadtxt`, `json`, a dict for each row.

MOT → COCO and Ground Truth → MOT of the seven MOT17 training sequences (204,701 boxes). Both sides
read the same files, write the same records and take turns; the best of the rounds counts. Then the
peak memory of converting the largest sequence three times and thirty times over.

    python bench/formats.py [MOT] [--rounds 5] [--no-memory]

Without MOT, `mot17/gt` of MOTRAIL_TEST_DATA.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.formats.coco.writer import CocoFile
from motrail.formats.ground_truth.reader import read_ground_truth
from motrail.formats.ground_truth.writer import GroundTruthWriter
from motrail.formats.labels import ClassList
from motrail.formats.mot.reader import MOT17_CLASSES, read_mot
from motrail.formats.mot.writer import MotWriter

if TYPE_CHECKING:
    from collections.abc import Callable

GOALS = {"MOT → COCO": 3.0, "Ground Truth → MOT": 2.0}
MEMORY_GOAL = 1.1
COPIES = 3, 30


def mot_to_coco(mot: Path, out: Path) -> None:
    """Our way."""
    source = read_mot(mot)
    with CocoFile(out / "coco.json", ClassList(source.classes)) as file:
        for labels in source:
            name = labels.name
            file.add(labels, lambda n, name=name: f"{name}/img1/{n:06d}.jpg")  # type: ignore[misc]
        file.finish()


def plain_mot_to_coco(mot: Path, out: Path) -> None:
    """The plain way."""
    document: dict[str, Any] = {
        "videos": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(MOT17_CLASSES, start=1)],
        "images": [],
        "annotations": [],
    }
    for video_id, folder in enumerate(sorted(mot.iterdir()), start=1):
        parser = configparser.ConfigParser()
        parser.read(folder / "seqinfo.ini")
        info = parser["Sequence"]
        length, width, height = (int(info[k]) for k in ("seqLength", "imWidth", "imHeight"))
        document["videos"].append({"id": video_id, "file_name": folder.name})
        before = len(document["images"])
        for frame in range(1, length + 1):
            document["images"].append(
                {
                    "id": before + frame,
                    "file_name": f"{folder.name}/img1/{frame:06d}.jpg",
                    "width": width,
                    "height": height,
                    "video_id": video_id,
                    "frame_id": frame,
                    "prev_image_id": before + frame - 1 if frame > 1 else -1,
                    "next_image_id": before + frame + 1 if frame < length else -1,
                }
            )
        rows = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",")
        for frame, id_, left, top, wide, high, active, class_, visibility in rows.tolist():
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": before + int(frame),
                    "category_id": int(class_),
                    "bbox": [left, top, wide, high],
                    "area": wide * high,
                    "iscrowd": int(active == 0),
                    "track_id": int(id_),
                    "keyframe": True,
                    "ignore": active == 0,
                    "visibility": visibility,
                    "attributes": {},
                    "source_id": None,
                }
            )
    (out / "coco.json").write_text(json.dumps(document))


def ground_truth_to_mot(job: Path, out: Path) -> None:
    """Our way."""
    source = read_ground_truth(job)
    writer = MotWriter(out, ClassList(source.classes))
    for labels in source:
        writer.add(labels.replace(width=1920, height=1080))
    writer.finish()


def plain_ground_truth_to_mot(job: Path, out: Path) -> None:
    """The plain way."""
    manifest = (job / "manifests" / "output" / "output.manifest").read_text()
    for line in manifest.splitlines():
        entry = json.loads(line)
        (reference,) = [k for k in entry if k.endswith("-ref") and k != "source-ref"]
        sequence = json.loads((job / entry["source-ref"]).read_text())
        numbers = {f["frame"]: int(f["frame-no"]) + 1 for f in sequence["frames"]}
        document = json.loads((job / entry[reference]).read_text())
        rows = []
        for frame in document["tracking-annotations"]:
            for box in frame["annotations"]:
                attributes = box["label-category-attributes"]
                rows.append(
                    {
                        "frame": numbers[frame["frame"]],
                        "id": int(box["object-name"].rpartition(":")[2]),
                        "left": box["left"],
                        "top": box["top"],
                        "width": box["width"],
                        "height": box["height"],
                        "active": 0 if attributes.get("ignore") == "true" else 1,
                        "class": int(box["class-id"]) + 1,
                        "visibility": attributes.get("ratio_vis", -1),
                    }
                )
        rows.sort(key=lambda row: (row["frame"], row["id"]))
        folder = out / Path(entry["source-ref"]).stem
        (folder / "gt").mkdir(parents=True)
        with (folder / "gt" / "gt.txt").open("w") as file:
            for row in rows:
                file.write(",".join(str(value) for value in row.values()) + "\n")


WAYS: dict[str, tuple[Callable[[Path, Path], None], Callable[[Path, Path], None]]] = {
    "MOT → COCO": (mot_to_coco, plain_mot_to_coco),
    "Ground Truth → MOT": (ground_truth_to_mot, plain_ground_truth_to_mot),
}


def seconds(way: Callable[[Path, Path], None], source: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        way(source, Path(folder))
        return time.perf_counter() - start


def make_job(mot: Path, job: Path) -> None:
    """The MOT labels as a Ground Truth job."""
    job.mkdir()
    source = read_mot(mot)
    writer = GroundTruthWriter(job, ClassList(source.classes))
    for labels in source:
        writer.add(labels)
    writer.finish()


def compare_speed(sources: dict[str, Path], rounds: int) -> None:
    print(f"{'':>20} {'motrail s':>10} {'plain s':>9} {'ratio':>7} {'goal':>6}")
    for name, ways in WAYS.items():
        times = [[seconds(way, sources[name]) for way in ways] for _ in range(rounds)]
        ours, plain = (min(column) for column in zip(*times, strict=True))
        print(f"{name:>20} {ours:10.2f} {plain:9.2f} {plain / ours:7.2f} {GOALS[name]:6.1f}")


# A process inherits the peak memory of the one that starts it, so a small one must do that.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(code)
"""


def peak(name: str, source: Path) -> float:
    """Peak memory in MiB of our conversion in a process of its own."""
    command = [sys.executable, "-c", MEASURE, sys.executable, __file__, "--only", name, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def compare_memory(mot: Path, folder: Path) -> None:
    """The largest sequence three times and thirty times."""
    name = max(mot.iterdir(), key=lambda f: (f / "gt" / "gt.txt").stat().st_size).name
    heads = [f"× {count} MiB" for count in COPIES]
    print(f"\n{'':>20} {heads[0]:>10} {heads[1]:>9} {'ratio':>7} {'goal':>6}")
    for count in COPIES:
        for number in range(count):
            shutil.copytree(mot / name, folder / f"mot {count}" / f"{name}-{number:03d}")
        make_job(folder / f"mot {count}", folder / f"job {count}")
    for way in WAYS:
        kind = "mot" if way == "MOT → COCO" else "job"
        few, many = (peak(way, folder / f"{kind} {count}") for count in COPIES)
        print(f"{way:>20} {few:10.0f} {many:9.0f} {many / few:7.2f} {MEMORY_GOAL:6.1f}")


def main() -> None:
    root = Path(os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("mot", nargs="?", type=Path, default=root / "mot17" / "gt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.mot.exists():
        sys.exit(f"SKIPPED: no labels at {arguments.mot}; set MOTRAIL_TEST_DATA or name a folder")
    if arguments.only:
        seconds(WAYS[arguments.only][0], arguments.mot)
        return
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job"
        make_job(arguments.mot, job)
        sources = {"MOT → COCO": arguments.mot, "Ground Truth → MOT": job}
        compare_speed(sources, arguments.rounds)
        if not arguments.no_memory:
            compare_memory(arguments.mot, Path(folder))


if __name__ == "__main__":
    main()
