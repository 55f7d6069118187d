"""Readers of the reference data, written apart from the package that is tested."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail import ByteTracker, Detections

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SEQUENCES = tuple(f"MOT17-{number:02d}" for number in (2, 4, 5, 9, 10, 11, 13))


@dataclass
class ValHalf:
    """The second half of a MOT17 sequence: detections of each frame, renumbered from 1."""

    detections: list[Detections]


def val_half(data: Path, sequence: str) -> ValHalf:
    """The frames n//2+2 … n of the detections."""
    ini = configparser.ConfigParser()
    ini.read(data / "mot17" / "gt" / sequence / "seqinfo.ini")
    length = ini.getint("Sequence", "seqLength")
    rows = np.loadtxt(data / "mot17" / "detections" / f"{sequence}.txt", delimiter=",")
    frames = []
    for number in range(length // 2 + 2, length + 1):
        frame = rows[rows[:, 0] == number]
        boxes = frame[:, 2:6].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        frames.append(Detections(boxes, frame[:, 6]))
    return ValHalf(frames)


def differences(data: Path, kind: str, sequence: str, tracker: ByteTracker) -> tuple[int, int]:
    """Boxes of the reference answer, and how many of ours or theirs have no counterpart.

    A counterpart is a box within 0.005 px whose id belongs to the other's id all along.
    """
    rows = np.loadtxt(
        data / "mot17" / "bytetrack_reference" / kind / f"{sequence}.txt", delimiter=","
    )
    ours_of: dict[int, int] = {}
    theirs_of: dict[int, int] = {}
    wrong = 0
    for number, detections in enumerate(val_half(data, sequence).detections, start=1):
        tracks = tracker.update(detections)
        ours: NDArray[np.float64] = tracks.boxes_xyxy.astype(np.float64)
        ours[:, 2:] -= ours[:, :2]
        taken: set[int] = set()
        for row in rows[rows[:, 0] == number]:
            near = np.flatnonzero(np.abs(ours - row[2:6]).max(axis=1) <= 0.005)
            free = [int(i) for i in near if int(i) not in taken]
            if not free:
                wrong += 1
                continue
            taken.add(free[0])
            our_id, their_id = int(tracks.ids[free[0]]), int(row[1])
            wrong += ours_of.setdefault(their_id, our_id) != our_id
            wrong += theirs_of.setdefault(our_id, their_id) != their_id
        wrong += len(tracks) - len(taken)
    return len(rows), wrong
