"""What bad labels get: the file, the place in it, what was expected and what was found."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from motrail.dataset.check.run import check
from motrail.errors import FormatError
from motrail.formats.labels import ReadOptions
from motrail.formats.recognize import open_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Two cars in two frames of 64 × 48 pixels, as each format has them.
MOT = "1,1,10,10,8,8,1,1,1\n1,2,30,10,8,8,1,1,1\n2,1,11,10,8,8,1,1,1\n"
SEQINFO = "[Sequence]\nframeRate=10\nseqLength=2\nimWidth=64\nimHeight=48\n"
COCO: dict[str, Any] = {
    "videos": [{"id": 1, "file_name": "clip"}],
    "categories": [{"id": 1, "name": "car"}],
    "images": [
        {"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48, "video_id": 1, "frame_id": n}
        for n in (1, 2)
    ],
    "annotations": [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [10 * n, 10, 8, 8], "track_id": n}
        for n in (1, 2)
    ],
}
SEQUENCE: dict[str, Any] = {
    "seq-no": 1,
    "prefix": "frames/clip/",
    "number-of-frames": 2,
    "frames": [{"frame-no": n, "frame": f"{n}.jpg"} for n in range(2)],
}
SEQ_LABEL: dict[str, Any] = {
    "tracking-annotations": [
        {
            "frame-no": "0",
            "frame": "0.jpg",
            "annotations": [
                {
                    "left": 10 * n,
                    "top": 10,
                    "width": 8,
                    "height": 8,
                    "class-id": "0",
                    "object-id": f"uuid-{n}",
                    "object-name": f"car:{n}",
                }
                for n in (1, 2)
            ],
        }
    ]
}
MANIFEST: dict[str, Any] = {
    "source-ref": "clip.json",
    "job-ref": "annotations/consolidated-annotation/output/0/SeqLabel.json",
    "job-ref-metadata": {"class-map": {"0": "car"}, "creation-date": "2026-11-01T10:00:00"},
}
CVAT = """<annotations><version>1.1</version><meta><task><size>2</size>
<start_frame>0</start_frame><stop_frame>1</stop_frame>
<labels><label><name>car</name></label></labels>
<original_size><width>64</width><height>48</height></original_size></task></meta>
<track id="1" label="car">
<box frame="0" keyframe="1" outside="0" occluded="0" xtl="10" ytl="10" xbr="18" ybr="18"/>
<box frame="1" keyframe="1" outside="0" occluded="0" xtl="11" ytl="10" xbr="19" ybr="18"/>
</track></annotations>
"""
STUDIO: list[dict[str, Any]] = [
    {
        "id": 1,
        "data": {"video": "clip.mp4"},
        "annotations": [
            {
                "result": [
                    {
                        "id": "a",
                        "type": "videorectangle",
                        "value": {
                            "labels": ["car"],
                            "framesCount": 2,
                            "sequence": [
                                {
                                    "frame": n,
                                    "x": 10,
                                    "y": 10,
                                    "width": 8,
                                    "height": 8,
                                    "enabled": True,
                                }
                                for n in (1, 2)
                            ],
                        },
                    }
                ]
            }
        ],
    }
]


def edited(document: Any, *steps: tuple[tuple[str | int, ...], Any]) -> str:
    """The document as JSON with values set at paths."""
    changed = copy.deepcopy(document)
    for path, value in steps:
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return json.dumps(changed)


def mot(rows: str, info: str = SEQINFO) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "clip" / "gt").mkdir(parents=True)
        (folder / "clip" / "seqinfo.ini").write_text(info)
        (folder / "clip" / "gt" / "gt.txt").write_text(rows)
        return folder / "clip"

    return make


def one_file(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def coco(*steps: tuple[tuple[str | int, ...], Any]) -> Callable[[Path], Path]:
    return one_file("coco.json", edited(COCO, *steps))


def job(
    labels: str | None = None, sequence: str | None = None, manifest: str | None = None
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        place = folder / "annotations" / "consolidated-annotation" / "output" / "0"
        place.mkdir(parents=True)
        (place / "SeqLabel.json").write_text(labels or json.dumps(SEQ_LABEL))
        (folder / "clip.json").write_text(sequence or json.dumps(SEQUENCE))
        path = folder / "output.manifest"
        path.write_text(manifest or json.dumps(MANIFEST))
        return path

    return make


def box(number: int, **values: Any) -> str:
    path = ("tracking-annotations", 0, "annotations", number)
    return edited(SEQ_LABEL, *(((*path, key.replace("_", "-")), v) for key, v in values.items()))


def cvat(old: str, new: str) -> Callable[[Path], Path]:
    assert old in CVAT
    return one_file("clip.xml", CVAT.replace(old, new, 1))


REGION = (0, "annotations", 0, "result", 0, "value")


def studio(*steps: tuple[tuple[str | int, ...], Any]) -> Callable[[Path], Path]:
    return one_file("tasks.json", edited(STUDIO, *steps))


BBOX = ("annotations", 1, "bbox")
SECOND_BOX = "tracking-annotations[0].annotations[1]"
SECOND_KEY = "[0].annotations[0].result[0].value.sequence[1]"
ABOVE_0 = "expected a width and height above 0, found"

CASES = {
    "negative size, MOT": (mot(MOT.replace("8,8", "-8,8", 1)), f"gt.txt:1: {ABOVE_0} -8 × 8"),
    "negative size, COCO": (coco((BBOX, [1, 1, -8, 8])), f"annotations[1]: {ABOVE_0} -8 × 8"),
    "negative size, Ground Truth": (job(box(1, width=-8)), f"{SECOND_BOX}: {ABOVE_0} -8 × 8"),
    "negative size, CVAT": (cvat('xbr="19"', 'xbr="3"'), f"clip.xml:7: {ABOVE_0} -8 × 8"),
    "negative size, Label Studio": (
        studio(((*REGION, "sequence", 1, "width"), -8)),
        f"{SECOND_KEY}: {ABOVE_0} -5.12 × 3.84",
    ),
    "zero size, MOT": (mot(MOT.replace("8,8", "8,0", 1)), f"gt.txt:1: {ABOVE_0} 8 × 0"),
    "zero size, COCO": (coco((BBOX, [1, 1, 8, 0])), f"annotations[1]: {ABOVE_0} 8 × 0"),
    "zero size, Ground Truth": (job(box(1, height=0)), f"{SECOND_BOX}: {ABOVE_0} 8 × 0"),
    "zero size, CVAT": (cvat('xbr="19"', 'xbr="11"'), f"clip.xml:7: {ABOVE_0} 0 × 8"),
    "zero size, Label Studio": (
        studio(((*REGION, "sequence", 1, "height"), 0)),
        f"{SECOND_KEY}: {ABOVE_0} 5.12 × 0",
    ),
    "NaN, MOT": (mot(MOT.replace("10,10", "nan,10", 1)), "gt.txt:1: expected numbers, found"),
    "NaN, COCO": (
        coco((BBOX, [float("nan"), 1, 8, 8])),
        "annotations[1]: expected a box of finite numbers, found nan, 1, 8, 8",
    ),
    "NaN, Ground Truth": (job(box(1, left=float("nan"))), "SeqLabel.json: expected JSON"),
    "NaN, CVAT": (cvat('xtl="11"', 'xtl="nan"'), "clip.xml:7: expected"),
    "NaN, Label Studio": (
        studio(((*REGION, "sequence", 1, "x"), float("nan"))),
        "tasks.json:1: expected JSON, found: JSON is malformed",
    ),
    "an id used by two classes, MOT": (
        mot(MOT.replace("2,1,11,10,8,8,1,1,1", "2,1,11,10,8,8,1,3,1")),
        "gt.txt:3: expected object 1 to stay 'pedestrian' as at first (line 1), found 'car'",
    ),
    "an id used by two classes, Ground Truth": (
        job(
            box(1, object_id="uuid-1", class_id="1"),
            manifest=edited(MANIFEST, (("job-ref-metadata", "class-map", "1"), "van")),
        ),
        f"{SECOND_BOX}: expected object",
    ),
    "the same frame and id twice, MOT": (
        mot(MOT.replace("1,2,30", "1,1,30")),
        "gt.txt:2: expected object 1 once in frame 1, found it again (first: line 1)",
    ),
    "the same frame and id twice, COCO": (
        coco((("annotations", 1, "track_id"), 1)),
        "annotations[1]: expected object 1 once in frame 1, found it again",
    ),
    "the same frame and id twice, Ground Truth": (
        job(box(1, object_id="uuid-1")),
        f"{SECOND_BOX}: expected object 1 once in frame 1, found it again",
    ),
    "the same frame and id twice, CVAT": (
        cvat('<box frame="1"', '<box frame="0"'),
        "clip.xml:7: expected",
    ),
    "the same frame and id twice, Label Studio": (
        studio(((*REGION, "sequence", 1, "frame"), 1)),
        f"{SECOND_KEY}",
    ),
    "a frame outside, MOT": (
        mot(MOT.replace("2,1,11", "3,1,11")),
        "gt.txt:3: expected a frame of the sequence, 1 to 2, found 3",
    ),
    "a frame outside, COCO": (
        coco((("videos", 0, "length"), 1), (("annotations", 1, "image_id"), 2)),
        "annotations[1]: expected a frame of the sequence, 1 to 1, found 2",
    ),
    "a frame outside, Ground Truth": (
        job(edited(SEQ_LABEL, (("tracking-annotations", 0, "frame"), "9.jpg"))),
        "tracking-annotations[0]: expected a frame of the sequence file, found '9.jpg'",
    ),
    "a frame outside, CVAT": (
        cvat('<box frame="1"', '<box frame="7"'),
        "clip.xml:7: expected a frame",
    ),
    "a frame outside, Label Studio": (
        studio(((*REGION, "sequence", 1, "frame"), 7)),
        f"{SECOND_KEY}",
    ),
    "images of two sizes, COCO": (
        coco((("images", 1, "width"), 65)),
        "images[1]: expected an image of 64 × 48 as its video, found 65 × 48",
    ),
    "a line that is not JSON, Ground Truth": (
        job(manifest=json.dumps(MANIFEST) + "\nnot json\n"),
        "output.manifest:2: expected",
    ),
    "half-written, MOT": (
        mot(MOT[:-12]),
        "gt.txt:3: expected 6 to 10 numbers separated by commas, found",
    ),
    "half-written, COCO": (one_file("coco.json", json.dumps(COCO)[:-20]), "half-written"),
    "half-written, Ground Truth": (
        job(json.dumps(SEQ_LABEL)[:-20]),
        "SeqLabel.json: half-written: the JSON ends too early; copy the file again",
    ),
    "half-written, CVAT": (one_file("clip.xml", CVAT[:-40]), "half-written"),
    "half-written, Label Studio": (
        one_file("tasks.json", json.dumps(STUDIO)[:-20]),
        "half-written",
    ),
    "an unknown class, MOT": (
        mot(MOT.replace("1,1,1\n", "1,13,1\n", 1)),
        "gt.txt:1: unknown class: expected one of MOT17, 1 to 12, found 13",
    ),
    "an unknown class, COCO": (
        coco((("annotations", 1, "category_id"), 5)),
        "annotations[1].category_id: ",
    ),
    "an unknown class, Ground Truth": (
        job(box(1, class_id="5")),
        f"{SECOND_BOX}: unknown class: expected a class-id of the class map (0 car), found '5'",
    ),
}
OPTIONS = ReadOptions(size=(64, 48))


@pytest.mark.parametrize("case", CASES)
def test_message(tmp_path: Path, case: str) -> None:
    make, expected = CASES[case]
    path = make(tmp_path)
    with pytest.raises(FormatError) as caught:
        list(open_labels(path, OPTIONS))
    message = str(caught.value)
    assert expected in message
    assert message.startswith(str(tmp_path))
    assert "\n" not in message
    assert re.search(r"expected|half-written", message)


@pytest.mark.parametrize("case", CASES)
def test_check_finds_it_too_and_reads_on(tmp_path: Path, case: str) -> None:
    make, _ = CASES[case]
    report = check(make(tmp_path), options=OPTIONS)
    assert report.faults >= 1


@pytest.mark.parametrize(
    "make",
    [mot(MOT), coco(), job(), cvat("car", "car"), studio()],
    ids=["mot", "coco", "ground-truth", "cvat", "label-studio"],
)
def test_without_the_fault_there_is_none(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    (labels,) = open_labels(path, OPTIONS)
    assert len(labels) >= 2
    assert check(path, options=OPTIONS).faults == 0
