"""What a batch consists of: its videos in S3, and how they are dealt to instances."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from motrail.batch.find import VIDEO_ENDINGS
from motrail.dataset.footage import silent
from motrail.errors import ConfigError
from motrail.names import IMAGE_SUFFIXES
from motrail.sagemaker.datasets import (
    digest_of,
    is_same,
    read_record,
    upload_files,
    write_record,
)
from motrail.sagemaker.transfer import safe_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.sagemaker.request import Cloud, ObjectInfo

Way = Literal["videos", "detect"]
MAX_INSTANCES = 100
_GIB = 1 << 30
_MAX_VOLUME = 16384
_FREE_GIB = 20
"""Room for the image's own needs, detections and results."""
_FEW = 2
"""So many videos for each instance are not few."""


@dataclass(frozen=True)
class Footage:
    """Videos below one prefix.

    Attributes:
        prefix: `s3://bucket/…/`, with the slash.
        names: Of the objects below it.
        sizes: Of each of them, in bytes.
        videos: How many videos they are; a folder of images is one.
        stamp: Tags of their contents, by name.
    """

    prefix: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    videos: int
    stamp: tuple[str, ...]

    @property
    def images(self) -> bool:
        """Whether these are folders of images, which cannot be dealt object by object."""
        return _is_image(self.names[0]) if self.names else False

    @property
    def units(self) -> tuple[str, ...]:
        """Each video: its name, or that of its folder of images."""
        if not self.images:
            return self.names
        return tuple(dict.fromkeys(map(_folder_of, self.names)))

    def tags(self) -> dict[str, str]:
        """For each video something that changes when its content does."""
        if not self.images:
            return dict(zip(self.names, self.stamp, strict=True))
        found: dict[str, str] = {}
        for name, stamp in zip(self.names, self.stamp, strict=True):
            folder = _folder_of(name)
            text = f"{found.get(folder, '')}{name}{stamp}"
            found[folder] = hashlib.sha256(text.encode()).hexdigest()
        return found

    def only(self, wanted: Iterable[str]) -> Footage:
        """Some of them; folders of images stay together."""
        if self.images:
            return self
        chosen = set(wanted)
        rows = [row for row in zip(self.names, self.sizes, self.stamp, strict=True)
                if row[0] in chosen]  # fmt: skip
        names, sizes, stamp = zip(*rows, strict=True) if rows else ((), (), ())
        return Footage(self.prefix, names, sizes, len(names), stamp)

    def manifest(self) -> list[object]:
        """As SageMaker takes it: a prefix, and what is below."""
        return [{"prefix": self.prefix}, *self.names]


def send_footage(
    cloud: Cloud, source: Path, prefix: str, say: Callable[[str], None], progress: Progress = silent
) -> None:
    """Copy a folder or a file to S3, as far as its content is not there; hidden files stay here.

    Args:
        cloud: Where to.
        source: The folder or file.
        prefix: `s3://bucket/…/`, with the slash.
        say: Told how much it is.
        progress: Told of files looked at, and of bytes that went over.

    Raises:
        ConfigError: There is neither.
        CloudError: S3 refused.
    """
    files = _files(source)
    there = {item.uri: item for item in cloud.objects(prefix)}
    record = prefix.rstrip("/")
    known = read_record(cloud, f"{record}.json")
    digests = {}
    for done, (name, file) in enumerate(files.items(), start=1):
        digests[name] = digest_of(file)
        progress("looking for what changed", done, len(files))
    todo = [n for n in files if not is_same(digests[n], there.get(prefix + n), known.get(n))]
    if todo:
        size = sum(files[name].stat().st_size for name in todo) / 1e6
        say(f"uploading {len(todo)} of {len(files)} files, {size:,.1f} MB")
        upload_files(cloud, {prefix + name: files[name] for name in todo}, progress)
    if todo or not known:
        write_record(cloud, record, digests)


def _files(source: Path) -> dict[str, Path]:
    if source.is_file():
        return {source.name: source}
    if not source.is_dir():
        raise ConfigError(f"{source}: expected s3://bucket/prefix, a folder or a video")
    found = ((path.relative_to(source), path) for path in sorted(source.rglob("*")))
    return {
        name.as_posix(): path
        for name, path in found
        if path.is_file() and not any(part.startswith(".") for part in name.parts)
    }


def find_footage(objects: Iterable[ObjectInfo], prefix: str) -> Footage:
    """The videos among objects, or else folders of images.

    Args:
        objects: Below the prefix.
        prefix: `s3://bucket/…/`, with the slash.

    Raises:
        ConfigError: There is no footage, or two videos would have results of the same name.
        CloudError: A key cannot be a file's name.
    """
    found = {item.uri.removeprefix(prefix): item for item in objects if not item.uri.endswith("/")}
    visible = [name for name in found if not any(part.startswith(".") for part in name.split("/"))]
    videos = [name for name in visible if PurePosixPath(name).suffix.lower() in VIDEO_ENDINGS]
    images = [name for name in visible if _is_image(name)]
    names = videos or images
    if not names:
        raise ConfigError(f"{prefix}: expected videos or folders of images, found none")
    for name in names:
        safe_key(name, prefix + name)
    count = len(videos) or len(set(map(_folder_of, images)))
    _check_names(videos)
    return Footage(
        prefix,
        tuple(names),
        tuple(found[name].size for name in names),
        count,
        tuple(found[name].etag for name in names),
    )


def _check_names(videos: Sequence[str]) -> None:
    """No instance may write what another writes; each knows only of its own videos."""
    stems = Counter(stem(name) for name in videos)
    twice = sorted(name for name in videos if stems[stem(name)] > 1)
    if twice:
        raise ConfigError(
            f"{twice[0]} and {twice[1]}: expected names that differ in more than their ending, for "
            "their results would have the same name; rename one"
        )


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _folder_of(name: str) -> str:
    """The folder of an image as `motrail batch` knows it: one with `img1` stands for that."""
    return name.rpartition("/")[0].removesuffix("/img1")


def stem(name: str) -> str:
    """What the results of a video are called: its path without the ending."""
    return str(PurePosixPath(name).with_suffix(""))


@dataclass(frozen=True)
class Deal:
    """How the work is dealt.

    Attributes:
        way: `videos`: each instance tracks its own videos. `detect`: each detects in a share of
            all, and one tracks.
        instances: How many.
        volume_gib: Disk of each.
    """

    way: Way
    instances: int
    volume_gib: int


def deal(footage: Footage, instances: int, volume_gib: int, way: Way | None = None) -> Deal:
    """Many videos go whole to one instance each; of few long ones each instance takes a share.

    Args:
        footage: What there is.
        instances: At most so many.
        volume_gib: Disk of each, at least.
        way: What somebody chose; None decides.

    Raises:
        ConfigError: It does not fit the disk of an instance, or folders of images were to be dealt.
    """
    if not 1 <= instances <= MAX_INSTANCES:
        raise ConfigError(f"--instances: expected 1 to {MAX_INSTANCES}, found {instances}")
    total, largest = sum(footage.sizes), max(footage.sizes)
    if way == "videos" and footage.images and instances > 1:
        raise ConfigError("--way videos: folders of images cannot be dealt; expected --way detect")
    if way is None:
        uneven = largest * instances > 2 * total or footage.videos < _FEW * instances
        way = "detect" if instances > 1 and (footage.images or uneven) else "videos"
    if way == "videos":
        instances = min(instances, footage.videos)
        # Objects are dealt by number, not by size.
        most = -(-len(footage.names) // instances)
        needed = sum(sorted(footage.sizes)[-most:])
    else:
        needed = total
    volume = max(volume_gib, math.ceil(needed * 1.1 / _GIB) + _FREE_GIB)
    if volume > _MAX_VOLUME:
        raise ConfigError(
            f"{footage.prefix}: {needed / _GIB:,.0f} GiB for one instance, and a disk has up to "
            f"{_MAX_VOLUME} GiB; give more --instances, or a part of the videos at a time"
        )
    return Deal(way, instances, volume)
