"""What is wrong with the images of a sequence."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.check.findings import counted, runs, show_runs
from motrail.errors import VideoError
from motrail.names import numbered_pictures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.dataset.check.findings import Findings
    from motrail.dataset.check.sequence_files import SequenceFiles
    from motrail.dataset.footage import Progress
    from motrail.formats.labels import Labels

ALIKE = 0.5
"""Grey levels by which all cells of two thumbnails differ less where images are nearly the same.

Means of 32×32 cells of an HD image that was only encoded again differ by less than 0.3; where a
person or a car moves, one cell at least differs by 1 to 30, in images of still cameras too.
"""
_CELLS = 32
_PAIRS = 500
_FLAT = 2.0
_JPEG = b"\xff\xd8"
_MAX_FILE = 1 << 28


def list_pictures(files: SequenceFiles, labels: Labels) -> dict[int, Path]:
    """The images of a sequence by frame number, in order; those of its folder, if it has any.

    Args:
        files: The sequence's folder.
        labels: Know of pictures too, as the record names them.
    """
    images = files.images()
    if not images:
        return dict(sorted(labels.pictures.items()))
    # Of two with one number the reader has told already.
    return numbered_pictures({path.stem: path for path in reversed(images)}.values())


def check_numbering(
    files: SequenceFiles,
    labels: Labels,
    numbers: NDArray[np.int64],
    findings: Findings,
    last_row: int = 0,
) -> int:
    """Compare the numbers of images with labels and with the length.

    Args:
        files: The sequence's folder, whose `seqinfo.ini` states a length.
        labels: Of the sequence.
        numbers: Frame numbers of the images, ascending, int64, shape (n,), n at least 1.
        findings: Told of faults.
        last_row: The last frame that `gt.txt` labels, where `labels` are of the record.

    Returns:
        The number of images where the length should be that and is not; else 0.
    """
    folder, stated = files.folder, files.info.length or labels.length
    labelled = np.unique(labels.frames)
    last, last_label = int(numbers[-1]), int(labelled.max(initial=0))
    whole = last == len(numbers)
    lacking = np.setdiff1d(labelled, numbers)
    if len(lacking):
        message = (
            f"{counted(len(lacking), 'labelled frame')} without image: {show_runs(*runs(lacking))}"
        )
        findings.note("missing-picture", folder, message, count=len(lacking))
    if not whole:
        _check_gaps(files, numbers, lacking, stated, findings)
    extent = max(last, last_label)
    wrong = sorted({files.info.length, labels.length} - {0, extent})
    if not wrong or not (whole or stated > extent):
        return 0
    found = " and ".join(map(str, wrong))
    message = f"expected the number of images, {len(numbers)}, found {found}"
    if files.info.length in wrong:
        findings.note("seq-length", files.info_file, message, "seqLength")
    else:
        findings.note("seq-length", folder, f"{message} in the record")
    return len(numbers) if whole and max(last_label, last_row) <= last else 0


def _check_gaps(
    files: SequenceFiles,
    numbers: NDArray[np.int64],
    lacking: NDArray[np.int64],
    stated: int,
    findings: Findings,
) -> None:
    beyond = numbers[numbers > stated] if stated else numbers[:0]
    if len(beyond):
        which = show_runs(*runs(beyond))
        message = f"{counted(len(beyond), 'image')} beyond the end, {stated}: {which}"
        findings.note("picture-beyond", files.folder, message, count=len(beyond))
    inside = np.concatenate([[0], numbers[: len(numbers) - len(beyond)]])
    starts, sizes = inside[:-1] + 1, np.diff(inside) - 1
    count = int(sizes.sum()) - int((lacking < inside[-1]).sum())
    if count:
        first = int(starts[sizes > 0][0])
        message = (
            f"images are numbered {numbers[0]} to {numbers[-1]}; "
            f"{counted(count, 'unlabelled frame')} without image, the first gap begins at {first}"
        )
        findings.note("picture-gap", files.folder, message, count=count)


def check_extension(files: SequenceFiles, findings: Findings) -> str:
    """See that `imExt` is how the images end.

    Returns:
        What it should be, where it is wrong and that can be said; else nothing.
    """
    endings = sorted({path.suffix for path in files.images()})
    told = files.info.extension
    if not told or not endings or endings == [told]:
        return ""
    message = f"imExt: expected {' and '.join(endings)} as the images end, found {told}"
    findings.note("image-extension", files.info_file, message, "imExt")
    return endings[0] if len(endings) == 1 else ""


def check_images(
    pictures: Mapping[int, Path],
    labels: Labels,
    findings: Findings,
    *,
    decode: bool = False,
    progress: Progress,
) -> list[int]:
    """Look at every image: its header, or all of it.

    Args:
        pictures: By frame number.
        labels: Know the size; where they do not, the first image does.
        findings: Told of broken images and of other sizes.
        decode: Decode images, instead of reading headers only.
        progress: Told of each image.

    Returns:
        Frame numbers of the images that are as they should be.
    """
    from motrail.video.images import decode_image, image_size

    expected = (labels.width, labels.height) if labels.width else None
    good = []
    for done, (frame, path) in enumerate(pictures.items(), start=1):
        progress(f"{labels.name}: looking at images", done, len(pictures))
        try:
            size = image_size(path)
            if decode:
                decode_image(_read(path), str(path))
        except VideoError as error:
            findings.note("broken-picture", path, str(error).removeprefix(f"{path}: "))
            continue
        expected = expected or size
        if size == expected:
            good.append(frame)
        else:
            message = (
                f"expected {expected[0]}x{expected[1]} pixels as in the rest of the sequence, "
                f"found {size[0]}x{size[1]}"
            )
            findings.note("image-size", path, message)
    return good


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise VideoError(f"{path}: expected at most {_MAX_FILE:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error


def hint_near_duplicates(
    pictures: Mapping[int, Path],
    frames: list[int],
    name: str,
    folder: Path,
    findings: Findings,
    progress: Progress,
) -> None:
    """Tell of images that are nearly the same as the one before; looks at 500 pairs at most.

    Args:
        pictures: By frame number.
        frames: Which of them can be decoded, ascending.
        name: Of the sequence, for the progress.
        folder: Of the sequence, for the hint.
        findings: Told of near duplicates.
        progress: Told of each pair.
    """
    numbers = np.array(frames, np.int64)
    seconds = numbers[1:][np.diff(numbers) == 1]
    if len(seconds) > _PAIRS:
        seconds = seconds[np.linspace(0, len(seconds) - 1, _PAIRS).astype(np.int64)]
    alike = []
    before, last = None, -1
    for done, frame in enumerate(seconds.tolist(), start=1):
        progress(f"{name}: comparing images", done, len(seconds))
        first = before if last == frame - 1 else thumbnail(pictures[frame - 1])
        before, last = thumbnail(pictures[frame]), frame
        if first is not None and before is not None and np.abs(first - before).max() < ALIKE:
            alike.append(frame)
    if alike:
        message = (
            f"{len(alike)} of {counted(len(seconds), 'image')} looked at: frame "
            f"{show_runs(*runs(np.array(alike, np.int64)))}"
        )
        findings.note("near-duplicates", folder, message, f"frame {alike[0]}", len(alike))


def thumbnail(path: Path) -> NDArray[np.float32] | None:
    """Mean grey levels of an image in 32×32 cells, float32; None where it cannot be decoded."""
    import cv2

    from motrail.video.images import image_size

    try:
        side = min(image_size(path))
        data = np.frombuffer(_read(path), np.uint8)
    except VideoError:
        return None
    how = next(flag for least, flag in _reductions() if side >= least)
    if data[:2].tobytes() != _JPEG:
        # Other formats are not reduced by means, but by leaving pixels out.
        how = cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(data, how)
        grey = np.asarray(image, np.float32)
        if grey.ndim != 2:
            return None
        return np.asarray(cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA))
    except (cv2.error, TypeError):
        return None


def _reductions() -> tuple[tuple[int, int], ...]:
    """How far a JPEG's shorter side lets it be reduced, with four pixels left for each cell."""
    import cv2

    return (
        (8 * 4 * _CELLS, cv2.IMREAD_REDUCED_GRAYSCALE_8),
        (4 * 4 * _CELLS, cv2.IMREAD_REDUCED_GRAYSCALE_4),
        (2 * 4 * _CELLS, cv2.IMREAD_REDUCED_GRAYSCALE_2),
        (0, cv2.IMREAD_GRAYSCALE),
    )


def fingerprints(pictures: Mapping[int, Path]) -> dict[bytes, Path]:
    """Hashes of the first and last image; not of images of one colour, which are anybody's."""
    ends = [pictures[min(pictures)], pictures[max(pictures)]] if pictures else []
    found = {}
    for path in ends:
        small = thumbnail(path)
        if small is None or small.std() < _FLAT:
            continue
        try:
            with path.open("rb") as file:
                found[hashlib.file_digest(file, "sha256").digest()] = path
        except OSError:
            continue
    return found
