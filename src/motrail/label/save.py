"""Write the dataset: what is labelled, as files that everything else reads.

The new files are made in a hidden folder of the dataset and then change places with the old ones by
renames. A journal of these lies beside them, so that even a process killed in their midst leaves
a dataset that is put back as it was when it is opened the next time.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from motrail.dataset.folder import DatasetWriter
from motrail.dataset.footage import place, write_frames
from motrail.errors import ConfigError
from motrail.formats.ground_truth.writer import GroundTruthWriter
from motrail.formats.labels import ClassList
from motrail.formats.mot.writer import picture_name
from motrail.label.imports import OCCLUDED_NAME, Remembered, labels_of
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from motrail.dataset.footage import Progress
    from motrail.formats.labels import Labels
    from motrail.label.store import Store
    from motrail.label.tables import SequenceInfo

FramesWanted = Literal["auto", "all", "labelled"]
GROUND_TRUTH = "ground_truth"
_HIDDEN = ".motrail-save-"
_JOURNAL, _DONE = "journal.json", "done.json"


class Told(Protocol):
    """Told how far the saving is; may raise to stop it."""

    def __call__(self, done: int, total: int | None = None, message: str | None = None) -> None:
        """So many of so many."""


@dataclass
class _Saved:
    sequences: int = 0
    boxes: int = 0
    frames: int = 0
    notes: list[str] = field(default_factory=list)
    kept: dict[int, dict[str, Any]] = field(default_factory=dict)
    stale: list[Path] = field(default_factory=list)


def save(store: Store, told: Told, frames: FramesWanted = "auto") -> dict[str, Any]:
    """Write the dataset of a project into its folder, whole or not at all.

    Frames of videos are written as JPEG files once; pictures from elsewhere are linked or copied.
    What else lies in the folder stays.

    Args:
        store: The project.
        told: Told of each step; what it raises ends the saving, and nothing has changed.
        frames: Which frames of videos are written: `all`, from the first to the last `labelled`
            one, or all where at least half of them lie between these.

    Returns:
        `dataset`, `sequences`, `boxes`, `frames` and `notes`.

    Raises:
        ConfigError: There is nothing to save yet.
        VideoError: A frame cannot be decoded.
        OutputError: The disk is full, for example.
    """
    folder = store.folder.resolve()
    temporary = folder / f"{_HIDDEN}{secrets.token_hex(8)}"

    def progress(what: str, done: int, total: int | None) -> None:
        told(done, total, what.replace(str(temporary), str(folder)))

    with writing(folder):
        temporary.mkdir()
    try:
        saved = _Saved()
        new = temporary / "new"
        with writing(new):
            new.mkdir()
        _write(store, new, saved, frames, progress)
        if not saved.sequences:
            raise ConfigError("there is nothing to save yet: draw a box first")
        told(0, None, "putting the files in place")
        _change_places(temporary, folder, saved.stale)
    finally:
        _clean(temporary)
    for index, kept in saved.kept.items():
        store.set_saved(index, json.dumps(kept))
    return {
        "dataset": str(store.folder),
        "sequences": saved.sequences,
        "boxes": saved.boxes,
        "frames": saved.frames,
        "notes": saved.notes,
    }


def _write(
    store: Store, new: Path, saved: _Saved, frames: FramesWanted, progress: Progress
) -> None:
    names = store.classes.names
    with writing(new):
        (new / GROUND_TRUTH).mkdir()
    away = GroundTruthWriter(new / GROUND_TRUTH, ClassList(names), created=store.changed_at)
    with DatasetWriter(new, ClassList(names)) as writer:
        for info in store.sequences():
            labels = _labels(store, info)
            if not len(labels) and info.kind == "video" and store.saved(info.index) is None:
                saved.notes.append(f"{info.name}: nothing is labelled yet, so it is left out")
                continue
            footage = _Footage(store, info, new, frames, progress)
            labels = footage.complete(labels)
            saved.kept[info.index] = footage.kept
            saved.stale += footage.stale(labels)
            saved.notes += [footage.note] if footage.note else []
            place(writer.add(labels, info.split), progress=progress)
            folder = new / info.split / info.name / "img1"
            here = {n: folder / picture_name(n, path) for n, path in labels.pictures.items()}
            place(away.add(labels.replace(pictures=here)), progress=progress)
            saved.sequences += 1
            saved.boxes += len(labels)
            saved.frames += len(here)
            shutil.rmtree(new.parent / "work", ignore_errors=True)
        writer.finish()
    away.finish()
    usual = ("set by hand", f"{OCCLUDED_NAME!r}")  # of every dataset with keyframes
    saved.notes += [
        f"Ground Truth: {note}" for note in away.notes if not any(word in note for word in usual)
    ]


def _labels(store: Store, info: SequenceInfo) -> Labels:
    objects = list(store.objects(info.index).values())
    labels = labels_of(
        info.name,
        store.classes.names,
        objects,
        width=info.width,
        height=info.height,
        length=info.length,
        frame_rate=info.frame_rate,
        frame_attributes=info.frame_attributes,
    )
    imported = store.imported(info.index)
    return labels if imported is None else Remembered(imported).restore(labels, objects)


class _Footage:
    """The pictures of a sequence that is saved."""

    def __init__(
        self,
        store: Store,
        info: SequenceInfo,
        new: Path,
        frames: FramesWanted,
        progress: Progress,
    ) -> None:
        self._root = store.folder.resolve()
        self._info, self._work = info, new.parent / "work"
        self._frames, self._progress = frames, progress
        self._before = json.loads(store.saved(info.index) or "{}")
        self.kept: dict[str, Any] = {}
        self.note: str | None = None

    def complete(self, labels: Labels) -> Labels:
        """The labels with the pictures that belong to them."""
        info = self._info
        if info.kind != "video":
            self.kept = {"kind": "pictures"}
            return labels.replace(
                pictures={n: self._root / path for n, path in info.pictures.items()}
            )
        path = self._root / info.source
        first, last = self._range(labels)
        stat = path.stat() if path.exists() else None
        mark = [stat.st_mtime_ns, stat.st_size] if stat else self._before.get("mark")
        there = self._there()
        if mark != self._before.get("mark"):
            there = {}
        pictures = {n: file for n, file in there.items() if first <= n <= last}
        missing = sorted(set(range(first, last + 1)) - set(pictures))
        if missing:
            pictures |= self._decode(path, missing[0], missing[-1])
        self.kept = {"kind": "video", "mark": mark, "first": first, "last": last}
        if first > 1:
            self.note = (
                f"{info.name}: frames {first:,} to {last:,} of the video are saved, as 1 to "
                f"{last - first + 1:,}; more with --frames all"
            )
        return _from_frame(labels.replace(pictures=pictures), first, last)

    def _range(self, labels: Labels) -> tuple[int, int]:
        length = self._info.length
        if not len(labels):
            return 1, length
        first, last = int(labels.frames.min()), int(labels.frames.max())
        much = 2 * (last - first + 1) >= length
        if self._frames == "all" or (self._frames == "auto" and much):
            return 1, length
        return first, last

    def _there(self) -> dict[int, Path]:
        """Frames of the video that were written before, by their number in it."""
        folder = self._root / self._info.split / self._info.name / "img1"
        first, last = self._before.get("first", 1), self._before.get("last", 0)
        paths = {n: folder / f"{n - first + 1:06d}.jpg" for n in range(first, last + 1)}
        return {n: path for n, path in paths.items() if path.is_file()}

    def stale(self, labels: Labels) -> list[Path]:
        """Frames that were written before and are no longer wanted."""
        if self._info.kind != "video":
            return []
        names = {f"{n:06d}.jpg" for n in labels.pictures}
        return [path for path in self._there().values() if path.name not in names]

    def _decode(self, path: Path, first: int, last: int) -> Mapping[int, Path]:
        from motrail.video.clip import NotSeekableError
        from motrail.video.index import read_index
        from motrail.video.read import open_source
        from motrail.video.source import Selection
        from motrail.video.stream import VideoSource

        if first > 1:
            index = read_index(path)
            selection = Selection(first, last)
            try:
                with VideoSource(
                    path, name=self._info.name, selection=selection, index=index
                ) as source:
                    return write_frames(source, self._work, progress=self._progress)
            except NotSeekableError:
                shutil.rmtree(self._work, ignore_errors=True)
        with open_source(path, start=first, end=last) as source:
            return write_frames(source, self._work, progress=self._progress)


def _from_frame(labels: Labels, first: int, last: int) -> Labels:
    """A stretch of a sequence, whose frames count from 1 as in one that was split by time."""
    pictures = {n - first + 1: path for n, path in sorted(labels.pictures.items())}
    said = {n - first + 1: v for n, v in labels.frame_attributes.items() if first <= n <= last}
    return labels.replace(
        frames=labels.frames - (first - 1),
        length=last - first + 1,
        pictures=pictures,
        frame_attributes=said,
    )


# Changing places


@dataclass(frozen=True, slots=True)
class _Move:
    """A file or folder that appears, and where what was there goes."""

    source: str | None
    target: str
    backup: str | None


def _change_places(temporary: Path, folder: Path, stale: Sequence[Path]) -> None:
    """Bring the new files to their places.

    Raises:
        OutputError: Something cannot be renamed; everything is as it was.
    """
    moves = list(_moves(temporary, folder, stale))
    journal = temporary / _JOURNAL
    with writing(folder):
        (temporary / "old").mkdir()
        rows = [[move.source, move.target, move.backup] for move in moves]
        with journal.open("w", encoding="utf-8") as file:
            json.dump(rows, file)
            file.flush()
            os.fsync(file.fileno())
        for move in moves:
            if move.backup is not None:
                Path(move.target).rename(move.backup)
            if move.source is not None:
                Path(move.source).rename(move.target)
        journal.rename(temporary / _DONE)


def _moves(temporary: Path, folder: Path, stale: Sequence[Path]) -> Iterator[_Move]:
    """What is renamed to what; entries that are there already and the same stay."""
    new, count = temporary / "new", 0

    def backup() -> str:
        nonlocal count
        count += 1
        return str(temporary / "old" / str(count))

    def merged(source: Path, target: Path) -> Iterator[_Move]:
        if not os.path.lexists(target):
            yield _Move(str(source), str(target), None)
        elif source.is_dir() and target.is_dir() and source != new / GROUND_TRUTH:
            for inside in sorted(source.iterdir()):
                yield from merged(inside, target / inside.name)
        elif not _same(source, target):
            yield _Move(str(source), str(target), backup())

    for source in sorted(new.iterdir()):
        yield from merged(source, folder / source.name)
    yield from (_Move(None, str(path), backup()) for path in stale)
    for split in sorted(path for path in new.iterdir() if path.is_dir()):
        for sequence in sorted(path for path in split.iterdir() if (path / "gt").is_dir()):
            # A list of classes beside the rows would count in another order than ours.
            for name in ("labels.txt", "gt/labels.txt"):
                other = folder / split.name / sequence.name / name
                if other.is_file():
                    yield _Move(None, str(other), backup())


def _same(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()):
        return False
    return one.samefile(other) or one.read_bytes() == other.read_bytes()


def _clean(temporary: Path) -> None:
    """Take back what was renamed, unless all was, and remove the rest."""
    journal = temporary / _JOURNAL
    if journal.is_file() and not _taken_back(journal):
        return  # what is in the hidden folder is all there is of it
    shutil.rmtree(temporary, ignore_errors=True)


def _taken_back(journal: Path) -> bool:
    try:
        moves = json.loads(journal.read_text(encoding="utf-8"))
    except ValueError:
        return True  # it was not complete, so nothing was renamed yet
    try:
        for source, target, backup in reversed(moves):
            if source is not None and os.path.lexists(target) and not os.path.lexists(source):
                Path(target).rename(source)
            if backup is not None and os.path.lexists(backup):
                Path(backup).rename(target)
    except OSError:
        return False
    return True


def recover(folder: Path) -> None:
    """Put a dataset back in order whose saving was killed."""
    for temporary in sorted(folder.resolve().glob(f"{_HIDDEN}*")):
        _clean(temporary)
