"""What was detected in a stretch of a video, in a file that is there whole or not at all."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import FormatError
from motrail.outputs import WholeFile, writing
from motrail.types import Detections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "numbers": (np.int64, ()),
    "counts": (np.int64, ()),
    "boxes_xyxy": (np.float32, (4,)),
    "scores": (np.float32, ()),
    "class_ids": (np.int64, ()),
}
_REST = ("broken", "truncated", "more")
_DAMAGED = (zipfile.BadZipFile, zlib.error)
_MAX_BYTES = 1 << 32


@dataclass(frozen=True)
class Stamp:
    """What the content of a chunk hangs on.

    Attributes:
        video: Fingerprint of the footage.
        detector: Fingerprint of the network and its settings.
        first: Number of the first frame, counted from 1.
        last: Number of the last one, itself included; None reads to the end.
        stride: Every how many frames.
        part: Of a stretch that is kept in several files, which one, counted from 0.
    """

    video: str
    detector: str
    first: int
    last: int | None
    stride: int
    part: int = 0


@dataclass(frozen=True)
class Chunk:
    """The detections of a stretch.

    Attributes:
        numbers: Of the frames that were looked at, int64, shape (frames,), ascending.
        counts: How many detections each has, int64, shape (frames,).
        boxes_xyxy: All of them in the order of the frames, float32, shape (n, 4), in pixels.
        scores: float32, shape (n,).
        class_ids: int64, shape (n,).
        broken: Frames that could not be decoded, or only in part.
        truncated: Why the source ended early; None if it did not, or not here.
        more: Whether further parts of the stretch follow.
    """

    numbers: NDArray[np.int64]
    counts: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    broken: int = 0
    truncated: str | None = None
    more: bool = False

    @classmethod
    def of(
        cls,
        found: list[tuple[int, Detections]],
        *,
        broken: int = 0,
        truncated: str | None = None,
        more: bool = False,
    ) -> Chunk:
        """The chunk of frames with their detections."""
        parts = [detections for _, detections in found]
        return cls(
            np.array([number for number, _ in found], np.int64),
            np.array([len(part) for part in parts], np.int64),
            np.concatenate([part.boxes_xyxy for part in parts] or [np.empty((0, 4), np.float32)]),
            np.concatenate([part.scores for part in parts] or [np.empty(0, np.float32)]),
            np.concatenate([part.class_ids for part in parts] or [np.empty(0, np.int64)]),
            broken,
            truncated,
            more,
        )

    def __iter__(self) -> Iterator[tuple[int, Detections]]:
        """Each frame's number and detections."""
        end = np.cumsum(self.counts)
        for number, stop, count in zip(
            self.numbers.tolist(), end.tolist(), self.counts.tolist(), strict=True
        ):
            rows = slice(stop - count, stop)
            yield number, Detections(self.boxes_xyxy[rows], self.scores[rows], self.class_ids[rows])


def write_chunk(path: Path, chunk: Chunk, stamp: Stamp) -> None:
    """Write a chunk as a NumPy archive, without pickles.

    Raises:
        OutputError: It cannot be written.
    """
    about = asdict(stamp) | {key: getattr(chunk, key) for key in _REST}
    content = io.BytesIO()
    np.savez_compressed(
        content,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        **{name: getattr(chunk, name) for name in _COLUMNS},
    )
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with WholeFile(path) as file:
            file.temporary.write_bytes(content.getvalue())


def read_chunk(path: Path, stamp: Stamp) -> Chunk | None:
    """Read a chunk; None where there is none, or one of other footage or another detector.

    Raises:
        FormatError: The file is no chunk, or cannot be read.
    """
    try:
        # Opened here, because np.load leaves a file open that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            about = json.loads(archive["about"].tobytes())
            if {key: about[key] for key in asdict(stamp)} != asdict(stamp):
                return None
            columns: dict[str, Any] = {name: _column(archive, name) for name in _COLUMNS}
            chunk = Chunk(**columns, **_rest(about))
            _check(chunk)
    except FileNotFoundError:
        return None
    # A damaged archive may name a way of packing that is not there: NotImplementedError.
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, *_DAMAGED) as error:
        raise FormatError(
            path, f"expected the detections of a stretch of video: {error}; remove the file"
        ) from error
    return chunk


def _rest(about: dict[str, Any]) -> dict[str, Any]:
    rest = {key: about[key] for key in _REST}
    kinds = (type(rest["broken"]), type(rest["more"]))
    if kinds != (int, bool) or not isinstance(rest["truncated"], str | None):
        raise ValueError(f"found {rest}")
    return rest


def _check(chunk: Chunk) -> None:
    boxes = int(chunk.counts.sum())
    if (
        len(chunk.numbers) != len(chunk.counts)
        or (chunk.counts < 0).any()
        or {len(chunk.boxes_xyxy), len(chunk.scores), len(chunk.class_ids)} != {boxes}
    ):
        raise ValueError("columns have lengths that do not match")
    if (np.diff(chunk.numbers) <= 0).any() or (chunk.more and not len(chunk.numbers)):
        raise ValueError("frames are missing or not in order")


def _column(archive: Any, name: str) -> NDArray[Any]:
    dtype, tail = _COLUMNS[name]
    values: NDArray[Any] = archive[name]
    if values.dtype != dtype or values.shape[1:] != tail or values.nbytes > _MAX_BYTES:
        raise ValueError(f"{name} is {values.dtype} of shape {values.shape}")
    return values
