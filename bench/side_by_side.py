"""The picture of docs/steady.md: the same synthetic clip through BYTE and through steady.

    python bench/side_by_side.py [PICTURE]

The clip is `motrail dataset synth --scene football --difficulty hard --seed 4`: a camera that turns
and trembles. The detections are its truth with misses, weak scores and boxes that are off, as a
detector would give them. Shown is a switch of identity that BYTE makes and steady does not.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from motrail.boxes import xywh_to_xyxy
from motrail.cli.app import run
from motrail.config import TrackerSettings
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Evaluation, read_truth, score
from motrail.evaluate.tracked import as_labels, track_detections
from motrail.evaluate.why.find import find_events
from motrail.formats.mot.detections import DetectionFile
from motrail.types import SequenceDetections, Tracks
from motrail.video.draw import TrackDrawer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.formats.labels import Labels
    from motrail.types import SequenceTracks

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "steady.jpg"
SEED, FRAMES, SIZE = 4, 250, (960, 540)
HALF = np.array([150, 110])
AROUND = 3
PROTOCOL = Protocol("classes")
Picture = Any


def detections_of(truth: Labels, seed: int) -> DetectionFile:
    """What a detector might find: 15 % missed, 20 % weak, boxes off by a few per cent."""
    rng = np.random.default_rng(seed)
    usable = ~truth.ignore & ((truth.visibility < 0) | (truth.visibility > 0.25))
    rows = np.flatnonzero(usable & (rng.random(len(truth)) > 0.15))
    boxes = truth.boxes_xywh[rows]
    off = rng.normal(0, 0.04, boxes.shape) * boxes[:, [2, 3, 2, 3]]
    scores = np.where(rng.random(len(rows)) < 0.2, rng.uniform(0.2, 0.55, len(rows)), 0.85)
    found = SequenceDetections(
        truth.frames[rows], xywh_to_xyxy(boxes + off), scores, truth.class_ids[rows]
    )
    order = np.argsort(found.frames, kind="stable")
    return DetectionFile(truth.name, tuple(truth.classes), found[order])


def drawn(
    tracks: SequenceTracks, truth: Labels, folder: Path, frames: list[int]
) -> dict[int, NDArray[np.uint8]]:
    """The frames with their tracks."""
    drawer = TrackDrawer(
        truth.classes,
        width=SIZE[0],
        height=SIZE[1],
        frame_rate=truth.frame_rate,
        trail_seconds=0.6,
        scores=False,
    )
    pictures = {}
    for number in range(1, max(frames) + 1):
        rows = tracks[tracks.frames == number]
        columns = (rows.boxes_xyxy, rows.scores, rows.class_ids, rows.detection_index)
        image: Picture = cv2.imread(str(folder / f"{number:06d}.jpg"))
        picture = drawer.draw(image, Tracks(rows.ids, *columns))
        if number in frames:
            pictures[number] = picture
    return pictures


def cut(picture: NDArray[np.uint8], middle: NDArray[np.float64], words: str) -> Picture:
    """The surroundings of a point, with a line of words above."""
    at = np.clip(middle, HALF, np.array(SIZE) - HALF).astype(int)
    left, top = at - HALF
    right, bottom = at + HALF
    part: Picture = picture[top:bottom, left:right].copy()
    cv2.rectangle(part, (0, 0), (part.shape[1], 20), (30, 30, 30), -1)
    cv2.putText(part, words, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1,
                cv2.LINE_AA)  # fmt: skip
    return part


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip"
        words = ["dataset", "synth", "--scene", "football", "--difficulty", "hard"]
        words += ["--seed", str(SEED), "--frames", str(FRAMES), "-o", str(clip)]
        if run([*words, "--size", f"{SIZE[0]}x{SIZE[1]}"]) != 0:
            sys.exit("no clip")
        truth = next(iter(read_truth(clip)))
        file = detections_of(truth, SEED)
        answers, events = {}, {}
        for tracker in ("byte", "steady"):
            settings = TrackerSettings(tracker=tracker)
            answers[tracker] = track_detections(truth, file, settings)
            labels = as_labels(truth, file, answers[tracker])
            found = Evaluation(PROTOCOL, {truth.name: score(truth, labels, PROTOCOL)}).combined
            values = found.as_dict()
            events[tracker] = [
                e for e in find_events(truth, labels, PROTOCOL) if e.kind == "switch"
            ]
            print(f"{tracker}: HOTA {values['HOTA']:.2f} IDF1 {values['IDF1']:.2f} "
                  f"switches {len(events[tracker])}")  # fmt: skip
        event = next(
            e
            for e in events["byte"]
            if e.start > 10
            and all(o.truth_id != e.truth_id or abs(o.start - e.start) > 25
                    for o in events["steady"])
        )  # fmt: skip
        frames = [event.start - AROUND, event.start, event.end, event.end + AROUND]
        images = next(clip.rglob("img1"))
        rows = []
        for tracker, tracks in answers.items():
            pictures = drawn(tracks, truth, images, frames)
            parts = []
            for number in frames:
                mine = np.flatnonzero((truth.ids == event.truth_id) & (truth.frames <= number))
                box = truth.boxes_xywh[mine[np.argmax(truth.frames[mine])]]
                parts.append(cut(pictures[number], box[:2] + box[2:] / 2,
                                 f"{tracker}, frame {number}"))  # fmt: skip
            rows.append(np.concatenate(parts, axis=1))
        print(f"frames {event.start} to {event.end}: {event.result_id} becomes {event.new_id}")
        cv2.imwrite(str(target), np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
