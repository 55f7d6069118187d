"""What is labelled: videos, folders of pictures and datasets become sequences of a project."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.dataset.folder import is_dataset, open_dataset
from motrail.errors import ConfigError, OutputError, VideoError
from motrail.label.imports import objects_of, packed
from motrail.label.save import recover
from motrail.label.schema import FILE
from motrail.label.store import Store
from motrail.label.tables import SequenceInfo
from motrail.names import safe_name, unused_name
from motrail.outputs import output_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motrail.formats.labels import Labels
    from motrail.label.model import LabelObject

    Known = Callable[[SequenceInfo], tuple[Sequence[str], Sequence[LabelObject]]]

USUAL_CLASS = "object"
ITSELF = "."
"""Stands for the dataset's own folder among what was taken in."""
_LITTER = frozenset({".DS_Store", "Thumbs.db"})


def open_project(
    sources: Sequence[Path],
    output: Path | None = None,
    *,
    classes: Sequence[str] = (),
    split: str = "all",
    known: Known | None = None,
) -> Store:
    """Open a labelling project, or make one.

    Args:
        sources: Videos, folders of pictures, datasets; none to go on with what is in `output`.
        output: The dataset that is written; None to correct the one source, a dataset, in place.
        classes: Names of classes, beside those that are there.
        split: The part of the dataset that new videos and folders go to.
        known: Gives the classes and the objects that a new sequence begins with, whatever its
            source has; None begins a video with none and a dataset with its own.

    Raises:
        ConfigError: A source makes no sense, or would be written into.
        FormatError: Labels of a dataset cannot be read.
        VideoError: A video cannot be read.
        OutputError: The folder is not ours and not empty, or cannot be written.
    """
    folder = _output(sources, output)
    _expect_ours(folder, sources)
    was_there, begun = folder.is_dir(), (folder / FILE).is_file()
    output_folder(folder)
    store = Store(folder)
    try:
        recover(folder)
        _fill(store, sources, split, known)
        store.add_classes(classes)
        if not store.classes.names:
            store.add_classes([USUAL_CLASS])
        if not store.sequences():
            raise ConfigError(f"{folder}: there is nothing to label yet; give a video")
    except BaseException:
        store.close()
        if not begun:  # what fails at once leaves nothing behind
            for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
                (folder / name).unlink(missing_ok=True)
        if not was_there:
            folder.rmdir()
        raise
    return store


def _output(sources: Sequence[Path], output: Path | None) -> Path:
    if output is not None:
        return output
    if len(sources) == 1 and (is_dataset(sources[0]) or (sources[0] / FILE).is_file()):
        return sources[0]
    raise ConfigError("say where the dataset shall be: add -o FOLDER")


def _expect_ours(folder: Path, sources: Sequence[Path]) -> None:
    """See that a folder is empty, a project of ours, or a dataset that is to be corrected."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; choose another name with -o")
    if not folder.is_dir() or (folder / FILE).is_file():
        return
    inside = [path for path in folder.iterdir() if path.name not in _LITTER]
    if inside and not any(_same(folder, source) for source in sources):
        raise OutputError(
            f"{folder}: there is something in this folder already, and it is no labelling project; "
            "choose another one with -o, or name it as what is to be labelled if it is a dataset"
        )


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.resolve() == other.resolve()


def _fill(store: Store, sources: Sequence[Path], split: str, known: Known | None) -> None:
    origins = set((store.noted("origins") or "").split("\n")) - {""}
    for source in sources:
        if not source.exists():
            raise ConfigError(
                f"{source}: no such file or folder; give a video, a folder of images or a dataset"
            )
        itself = _same(store.folder, source)
        place = ITSELF if itself else os.path.abspath(source)  # noqa: PTH100 (a link keeps its name)
        if place in origins:
            continue
        taken = {info.name.lower() for info in store.sequences()}
        origins |= {place, ITSELF}
        with store.changing():  # all of a source or nothing
            if is_dataset(source):
                _add_dataset(store, source, taken, known)
            elif not itself:
                _add_footage(store, source, split, taken, known)
            store.note("origins", "\n".join(sorted(origins)))


def _add_dataset(store: Store, source: Path, taken: set[str], known: Known | None) -> None:
    dataset = open_dataset(source)
    if not _same(store.folder, dataset.folder) and _same(store.folder, source):
        raise ConfigError(f"{source}: is a part of a dataset; give {dataset.folder}, or add -o")
    store.add_classes(dataset.classes)
    in_place = _same(store.folder, dataset.folder)
    for split, labels in dataset.labels():
        if in_place and safe_name(labels.name) != labels.name:
            raise ConfigError(
                f"{source}: sequence {labels.name!r} has a name that cannot be kept; give another "
                "folder with -o"
            )
        name = unused_name(safe_name(labels.name), taken)
        if in_place and name != labels.name:
            raise ConfigError(
                f"{source}: two splits have a sequence {labels.name!r}; give another folder with -o"
            )
        _add_labels(store, _sized(labels), name, split, known)


def _sized(labels: Labels) -> Labels:
    if labels.width or not labels.pictures:
        return labels
    from motrail.video.images import image_size

    width, height = image_size(next(iter(labels.pictures.values())))
    return labels.replace(width=width, height=height)


def _add_labels(store: Store, labels: Labels, name: str, split: str, known: Known | None) -> None:
    store.add_classes(labels.classes)
    root = store.folder.resolve()
    pictures = {}
    for frame, path in labels.pictures.items():
        whole = Path(os.path.abspath(path))  # noqa: PTH100
        inside = whole.is_relative_to(root)
        pictures[frame] = str(whole.relative_to(root)) if inside else str(whole)
    info = SequenceInfo(
        name,
        split,
        "pictures",
        pictures=pictures,
        width=labels.width,
        height=labels.height,
        length=max(labels.length, max(pictures, default=0), 1),
        frame_rate=labels.frame_rate,
        frame_attributes=labels.frame_attributes,
    )
    if known is not None:
        _add_known(store, info, known)
        return
    found = objects_of(labels)
    store.add_sequence(info, found.objects, packed(found))


def _add_known(store: Store, info: SequenceInfo, known: Known) -> None:
    names, items = known(info)
    store.add_classes(names)
    store.add_sequence(info, items)


def _add_footage(
    store: Store, source: Path, split: str, taken: set[str], known: Known | None
) -> None:
    from motrail.video.read import open_source

    with open_source(source) as footage:
        info = SequenceInfo(
            unused_name(safe_name(footage.name), taken),
            split,
            "video",
            width=footage.width,
            height=footage.height,
            length=footage.expected_frames or 1,
            frame_rate=footage.frame_rate,
        )
        files = [os.path.abspath(path) for path in footage.files]  # noqa: PTH100
    if is_video(source):
        from motrail.video.index import read_index

        length = info.length
        if footage.expected_frames is None:  # its header does not say
            index = read_index(source)
            length = len(index) if index.fault is None else _count(source)
        info = replace(info, source=files[0], length=max(length, 1))
    else:
        info = replace(info, kind="pictures", pictures=dict(enumerate(files, start=1)))
    if known is None:
        store.add_sequence(info)
    else:
        _add_known(store, info, known)


def is_video(path: Path) -> bool:
    """Whether a source is a video file rather than pictures."""
    from motrail.names import is_image

    return path.is_file() and not is_image(path)


def _count(path: Path) -> int:
    from motrail.video.clip import opened

    last = 0
    with opened(path, threads=2) as clip:
        for number, _, _ in clip.frames():
            last = number
    if not last:
        raise VideoError(f"{path}: expected a video, found no frame that can be decoded")
    return last
