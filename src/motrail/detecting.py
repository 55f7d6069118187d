"""`motrail detect`: what a detector sees, in files, so that trackers can be tried without it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError, FormatError
from motrail.formats.mot.detections import DetectionFileWriter
from motrail.formats.mot.tracks import LabelsFile
from motrail.outputs import WholeFile, output_folder, writing
from motrail.pipeline import detect, one_opencv_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from motrail.config import DetectorSettings
    from motrail.detect.bundle import Bundle
    from motrail.detect.detector import Detector
    from motrail.types import Frame
    from motrail.video.source import Source

_STAMPS = "detections.json"
_CHUNK = 1 << 20


@dataclass
class Detected:
    """What was done with a source.

    Attributes:
        source: Name of the sequence.
        path: The detection file.
        frames: Frames looked at.
        boxes: Detections found.
        seconds: Time spent.
        kept: Whether the file was there already, made of the same frames by the same detector.
        truncated: Why the source ended early; None if it did not.
    """

    source: str
    path: str
    frames: int = 0
    boxes: int = 0
    seconds: float = 0.0
    kept: bool = False
    truncated: str | None = None

    @property
    def frames_per_second(self) -> float:
        """Frames looked at in a second."""
        return self.frames / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Footage:
    """Frames to detect in.

    Attributes:
        source: Where they come from.
        numbers: The frame number of each of its frames, ascending, where those of the source do
            not count, as in a dataset that has pictures of some frames only.
    """

    source: Source
    numbers: Sequence[int] | None = None

    def frames(self) -> Iterator[Frame]:
        """The frames, numbered as they are to be."""
        for frame in self.source:
            if self.numbers is None:
                yield frame
            else:
                yield dataclasses.replace(frame, number=self.numbers[frame.number - 1])


def detect_all(
    footage: Iterable[Footage],
    detector: Detector,
    output: Path,
    *,
    made_by: str,
    progress: Callable[[Detected, int | None], None] | None = None,
) -> Iterator[Detected]:
    """Detect in each source, into a folder with `NAME.txt` for each and a `labels.txt`.

    A file that was made of the same frames by the same detector stays as it is: a run that was
    interrupted goes on where it stopped, and a second one costs no more than reading the footage.

    Args:
        footage: The sources; their names differ.
        detector: What `motrail.detect.detector.open_detector` gave.
        output: The folder.
        made_by: What `fingerprint` says of the detector.
        progress: Called after every frame with the number of frames expected.

    Yields:
        What was done with each.

    Raises:
        ConfigError: The folder has detections of other classes, or two sources have one name.
        MotrailError: Anything else that went wrong; no file is left half-written.
    """
    folder = output_folder(output)
    with LabelsFile(folder, detector.class_names):
        pass
    stamps = _read_stamps(folder)
    names: Counter[str] = Counter()
    for item in footage:
        name = item.source.name
        names[name] += 1
        path = folder / f"{name}.txt"
        if names[name] > 1 or name == "labels":
            raise ConfigError(
                f"{path}: has no place for this source; expected names that differ, found {name!r} "
                "again; detect in one of them at a time, each into its own folder"
                if names[name] > 1
                else f"{path}: holds the names of the classes; rename the source 'labels'"
            )
        stamp = _stamp(item, made_by)
        if stamps.get(name) == stamp and path.is_file():
            yield Detected(name, str(path), kept=True)
            continue
        done = _detect(item, detector, path, progress)
        if done.truncated is None:
            stamps[name] = stamp
            _write_stamps(folder, stamps)
        yield done


def _detect(
    item: Footage,
    detector: Detector,
    path: Path,
    progress: Callable[[Detected, int | None], None] | None,
) -> Detected:
    done = Detected(item.source.name, str(path))
    start = time.perf_counter()
    with (
        one_opencv_thread(),
        item.source,
        DetectionFileWriter(path) as writer,
        contextlib.closing(detect(item.frames(), detector)) as found,
    ):
        for frame, detections in found:
            writer.write(frame.number, detections)
            done.frames += 1
            done.boxes += len(detections)
            done.seconds = time.perf_counter() - start
            if progress is not None:
                progress(done, item.source.expected_frames)
    done.truncated = item.source.truncated
    return done


def fingerprint(bundle: Bundle, settings: DetectorSettings) -> str:
    """A sum over all that decides what a detector finds: its network and its settings."""
    digest = hashlib.sha256()
    if isinstance(bundle.onnx, bytes):
        digest.update(bundle.onnx)
    else:
        _add_file(digest, bundle.onnx)
    spec = bundle.spec.model_dump(mode="json") if bundle.spec else None
    chosen = dataclasses.asdict(settings)
    if settings.labels is not None:
        chosen["labels"] = Path(settings.labels).read_text(encoding="utf-8")
    for unimportant in ("device", "workers"):
        del chosen[unimportant]
    digest.update(json.dumps([spec, chosen], sort_keys=True).encode())
    return digest.hexdigest()


def _stamp(item: Footage, made_by: str) -> str:
    digest = hashlib.sha256(made_by.encode())
    digest.update(repr(item.source.selection).encode())
    digest.update(repr(None if item.numbers is None else list(item.numbers)).encode())
    for path in item.source.files:
        _add_file(digest, path)
    return digest.hexdigest()


def _add_file(digest: Any, path: Path) -> None:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror or error}") from error
    digest.update(b"\0")


def _read_stamps(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / _STAMPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # then everything is detected anew
    if not isinstance(content, dict):
        return {}
    return {str(name): str(stamp) for name, stamp in content.items()}


def _write_stamps(folder: Path, stamps: Mapping[str, str]) -> None:
    file = WholeFile(folder / _STAMPS)
    with writing(file.path), file:
        text = json.dumps(dict(sorted(stamps.items())), indent=2, ensure_ascii=False)
        file.temporary.write_text(text + "\n", encoding="utf-8")
