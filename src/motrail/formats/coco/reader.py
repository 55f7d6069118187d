"""Read labels from COCO files: our full record, others' video COCO, plain detection COCO."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.formats.coco.checks import Checker, Field
from motrail.formats.coco.json_stream import JsonStream, NotJsonError
from motrail.formats.coco.rows import MAX_SEQUENCES, MAX_TEXT, Annotations, Images
from motrail.formats.coco.sequence import Pictures, find_pictures, number_frames, tell_apart
from motrail.formats.coco.spool import Spool
from motrail.formats.faults import check_rows, refuse
from motrail.formats.labels import MAX_FRAMES, Labels, LabelSource, ReadOptions, usable_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from motrail.formats.faults import Found

    _Add = Callable[[int, list[object]], None]

MAX_CATEGORIES = 100_000
MOST_TRIED = 20
"""Images that are looked for to find the folder of the pictures."""

_USUAL = ReadOptions()
_VIDEO_FIELDS = (
    Field("id", "whole", None),
    Field("width", "whole", 0, 0, 1_000_000),
    Field("height", "whole", 0, 0, 1_000_000),
    Field("length", "whole", 0, 0, MAX_FRAMES),
    Field("frame_rate", "number", -1.0, -np.inf, np.inf),
    Field("fps", "number", 0.0, -np.inf, np.inf),
)
_CATEGORY_FIELDS = (Field("id", "whole", None),)


def read_coco(
    path: Path,
    options: ReadOptions = _USUAL,
    found: Found = refuse,
    *,
    pictures: Path | None = None,
    memory: int = 1 << 26,
) -> LabelSource:
    """Read a COCO file whose annotations have boxes; it may be larger than memory.

    The file is gone through at once (twice where its annotations stand before its images), what
    it says is put aside, and each reading makes `Labels` of that, sequence by sequence:

    - A sequence is a video, in the order of `videos`. In a file without them the images' folder
      is the sequence (`SEQ/img1/000001.jpg` or `SEQ/000001.jpg`); where an image stands in no
      folder, all images are one, named `options.name` or as the file.
    - Frames are numbered by `frame_id`; where it counts from 0 in a video, one is added. Where an
      image of a sequence has none they are numbered in the order of image ids.
    - `track_id` is the id; where there is none, the one among the `attributes`, as CVAT exports
      it. One number used in several categories stands for several objects: all
      but the first get a fresh id and the number as source id.
    - What is not `ignore`d in so many words is ignored where `iscrowd` is 1.
    - Keys that are not COCO's or ours (`score`, a filled `segmentation` …) become attributes.
    - Classes are in the order of category ids; categories of the same name are one class.
    - A sequence whose images say no size has `options.size`. Without `videos`, images may differ
      in size; then the size is unknown.
    - Of pictures those are named that are there; names that lead out of the folder are not
      followed.

    Args:
        path: The file.
        options: What the file may not say itself.
        found: Told of each fault; the usual one raises.
        pictures: The folder that `file_name`s count from. Without it: the file's folder, `images`
            in it, the folder above, and there `images` and the file's stem; the first that has
            any of the first images.
        memory: Bytes of the images and boxes to hold in memory; what goes beyond is put into a
            temporary file.

    Returns:
        The labels, to be read as often as wished.

    Raises:
        FormatError: With the usual `found`: the file is not as COCO asks.
        OutputError: The disk that holds temporary files is full.
    """
    content = _Coco(path, options, Checker(path, found), memory)
    content.scan()
    content.arrange(pictures)
    return LabelSource("coco", content.classes, len(content.sequences), content.read)


class _Video(NamedTuple):
    name: str | None
    group: int = -1
    width: int = 0
    height: int = 0
    length: int = 0
    frame_rate: float = 0.0


class _Coco:
    """The content of a file: short lists as they are, images and annotations put aside."""

    def __init__(self, path: Path, options: ReadOptions, check: Checker, memory: int) -> None:
        self._path = path
        self._options = options
        self._check = check
        spool = Spool(memory)
        self._images = Images(check, spool)
        self._annotations = Annotations(check, spool, self._images)
        self._images_known = False
        self._postponed = False
        self._whole = False
        self._videos: dict[int, _Video] = {}
        self._categories: dict[int, str] = {}
        self._category_ids = np.zeros(0, np.int64)
        self._class_ids = np.zeros(0, np.int64)
        self._pictures: Pictures | None = None
        self.classes: tuple[str, ...] = ()
        self.sequences: list[_Video] = []

    def scan(self) -> None:
        """Go through the file."""
        seen, self._whole = self._pass(
            {
                "videos": self._add_videos,
                "categories": self._add_categories,
                "images": self._images.add,
                "annotations": self._annotations.add,
            }
        )
        missing = [key for key in ("images", "annotations", "categories") if key not in seen]
        if missing and self._whole:
            names = " and ".join(f"`{key}`" for key in missing)
            what = f"expected `images`, `annotations` and `categories`, found no {names}"
            self._check.fault("layout", None, f"{what}; is this a COCO file of labels?")
        if not self._images_known:
            self._end_images()
        if self._postponed and self._whole:
            self._pass({"annotations": self._annotations.add})
        self._annotations.finish()

    def arrange(self, pictures: Path | None) -> None:
        """Put together what the lists say."""
        ids = sorted(self._categories)
        names = [self._categories[number] for number in ids]
        self.classes = tuple(dict.fromkeys(names))
        place = {name: index for index, name in enumerate(self.classes)}
        self._category_ids = np.array(ids, np.int64)
        self._class_ids = np.array([place[name] for name in names], np.int64)
        images = self._images
        groups = {key: group for group, key in enumerate(images.groups)}
        if self._videos:
            for number, video in self._videos.items():
                self.sequences.append(video._replace(group=groups.pop(number, -1)))
            self._tell_of_strays(list(groups.values()))
        else:
            self.sequences = [_Video(_last_part(key), group) for key, group in groups.items()]
        if len(images.table):
            first = np.argsort(images.table["index"])[:MOST_TRIED]
            names = [images.name(row) for row in first.tolist()]
            self._pictures = Pictures(pictures or find_pictures(self._path, names))

    def read(self) -> Iterator[Labels]:
        """The sequences, one by one."""
        for video in self.sequences:
            yield self._sequence(video)

    def _pass(self, lists: Mapping[str, _Add]) -> tuple[list[str], bool]:
        """Hand on lists of the file: which were there, and whether the file is whole."""
        seen: list[str] = []
        try:
            if not self._path.is_file():
                self._check.fault("file", None, "cannot be read: there is no such file")
                return seen, False
            with self._path.open("rb") as file:
                stream = JsonStream(file)
                try:
                    for key in stream.members():
                        self._member(stream, key, lists, seen)
                except NotJsonError as error:
                    self._check.fault("json", stream.place or None, str(error))
                    return seen, False
        except OSError as error:
            self._check.fault("file", None, f"cannot be read: {error.strerror or error}")
            return seen, False
        return seen, True

    def _member(
        self, stream: JsonStream, key: str, lists: Mapping[str, _Add], seen: list[str]
    ) -> None:
        if key not in lists:
            stream.skip()
            return
        if key in seen or stream.peek() != "[":
            found = "another" if key in seen else f"something else: {stream.snippet()}"
            self._check.fault("layout", key, f"expected one list, found {found}")
            stream.skip()
            return
        seen.append(key)
        if key == "annotations" and not self._images_known:
            self._postponed = True
            stream.skip()
            return
        for start, batch in stream.batches():
            lists[key](start, batch)
        if key == "images":
            self._end_images()

    def _end_images(self) -> None:
        self._images.finish()
        self._images_known = True

    def _add_videos(self, start: int, batch: list[object]) -> None:
        elements, indices, numbers = self._check.take("videos", start, batch, _VIDEO_FIELDS)
        columns = [numbers[field.key].tolist() for field in _VIDEO_FIELDS]
        for index, element, *values in zip(indices.tolist(), elements, *columns, strict=True):
            number, width, height, length, rate, fps = values
            place = f"videos[{index}]"
            if not self._new("videos", index, number, self._videos, MAX_SEQUENCES):
                continue
            key = "file_name" if element.get("file_name") is not None else "name"
            name = None
            if element.get(key) is not None:
                name = self._check.text(f"{place}.{key}", element[key])
            rate = fps if rate == -1 else rate
            if not 0 <= rate < np.inf:
                what = f"expected frames a second, found {rate:g}"
                self._check.fault("number", f"{place}.frame_rate", what)
                rate = 0.0
            self._videos[number] = _Video(name or str(number), -1, width, height, length, rate)

    def _add_categories(self, start: int, batch: list[object]) -> None:
        elements, indices, numbers = self._check.take("categories", start, batch, _CATEGORY_FIELDS)
        rows = zip(indices.tolist(), numbers["id"].tolist(), elements, strict=True)
        for index, number, element in rows:
            if not self._new("categories", index, number, self._categories, MAX_CATEGORIES):
                continue
            name = self._check.text(f"categories[{index}].name", element.get("name"))
            if name is not None:
                self._categories[number] = name

    def _new(
        self, name: str, index: int, number: int, known: Mapping[int, object], limit: int
    ) -> bool:
        if number in known:
            what = f"expected each id once, found {number} again"
            self._check.fault("duplicate", f"{name}[{index}].id", what)
        elif len(known) >= limit:
            self._check.fault("memory", name, f"expected at most {limit}, found more")
        else:
            return True
        return False

    def _tell_of_strays(self, groups: list[int]) -> None:
        """Tell of images that belong to none of the videos."""
        images = self._images
        if groups and not images.in_videos:
            what = "expected a video_id in every image, as the file has videos"
            self._check.fault("layout", "images", what)
            return
        table = images.table[np.isin(images.table["group"], groups)]
        for index, group in np.sort(table[["index", "group"]], order="index").tolist():
            what = f"expected the id of a video, found {images.groups[group]}"
            self._check.fault("layout", f"images[{index}].video_id", what)

    def _sequence(self, video: _Video) -> Labels:
        first = int(self._images.first[video.group]) if video.group != -1 else 0
        end = int(self._images.first[video.group + 1]) if video.group != -1 else 0
        images = self._images.table[first:end]
        length = video.length or self._options.length or 0
        numbers = number_frames(images, self._check)
        rows, attributes, sources = self._annotations.rows(video.group)
        class_ids = self._classes_of(rows)
        frames = numbers[rows["image"] - first]
        keep = (class_ids != -1) & (frames != 0)
        rows, class_ids, frames = rows[keep], class_ids[keep], frames[keep]
        ids, sources = tell_apart(rows["track"], class_ids, sources[keep])
        width, height = self._size(video, images)
        labels = Labels(
            name=video.name or self._options.name or self._path.stem,
            classes=self.classes,
            frames=frames,
            ids=ids,
            boxes_xywh=rows["box"].copy(),
            class_ids=class_ids,
            visibility=rows["visibility"].copy(),
            ignore=rows["ignore"].copy(),
            keyframe=rows["keyframe"].copy(),
            attributes=attributes[keep],
            source_ids=sources,
            width=width,
            height=height,
            length=length or int(numbers.max(initial=0)),
            frame_rate=usable_rate(video.frame_rate) or self._options.frame_rate or 0.0,
            frame_attributes=self._frame_attributes(images, first, numbers),
            pictures=self._pictures_of(first, numbers),
        )
        index = rows["index"]
        good = check_rows(
            labels, self._path, lambda row: f"annotations[{index[row]}]", self._check.found
        )
        return good.in_order()

    def _classes_of(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Class ids; -1, after telling of the fault, where a category is unknown."""
        known = self._category_ids
        if not len(known):
            class_ids = np.full(len(rows), -1, np.int64)
            if not self._whole:
                return class_ids  # the file breaks off before its categories: that is told
        else:
            at = np.minimum(np.searchsorted(known, rows["category"]), len(known) - 1)
            class_ids = np.where(known[at] == rows["category"], self._class_ids[at], -1)
        some = ", ".join(str(number) for number in known[:10].tolist())
        if len(known) > 10:
            some += " …"
        for row in np.flatnonzero(class_ids == -1).tolist():
            what = f"expected the id of a category ({some}), found {rows['category'][row]}"
            self._check.fault("class", f"annotations[{rows['index'][row]}].category_id", what)
        return class_ids

    def _size(self, video: _Video, images: NDArray[Any]) -> tuple[int, int]:
        """Width and height of the frames, after telling of images of another size."""
        sizes = np.stack([images["width"], images["height"]], axis=1)
        told = (sizes > 0).all(axis=1)
        size = (video.width, video.height)
        if not (video.width and video.height):
            if not told.any():
                return size if any(size) else self._options.size or (0, 0)
            size = tuple(sizes[np.argmax(told)].tolist())
        other = told & (sizes != size).any(axis=1)
        if other.any() and not self._videos and not self._images.in_videos:
            return 0, 0
        for width, height, index in zip(*sizes[other].T, images["index"][other], strict=True):
            what = (
                f"expected an image of {size[0]} × {size[1]} as its video, found {width} × {height}"
            )
            self._check.fault("image-size", f"images[{index}]", what)
        return size

    def _frame_attributes(
        self, images: NDArray[Any], first: int, numbers: NDArray[np.int64]
    ) -> dict[int, Mapping[str, object]]:
        if int(images["attribute_bytes"].sum()) > MAX_TEXT:
            what = f"expected at most {MAX_TEXT} bytes of attributes in one sequence, found more"
            self._check.fault("memory", "images", what)
            return {}
        rows = np.flatnonzero((images["attribute_bytes"] > 0) & (numbers != 0)).tolist()
        by_frame = {int(numbers[row]): self._images.attributes(first + row) for row in rows}
        return dict(sorted(by_frame.items()))

    def _pictures_of(self, first: int, numbers: NDArray[np.int64]) -> dict[int, Path]:
        if self._pictures is None or self._pictures.folder is None:
            return {}
        found = {}
        for row in np.argsort(numbers, kind="stable").tolist():
            picture = self._pictures.find(self._images.name(first + row))
            if picture is not None and numbers[row] != 0:
                found[int(numbers[row])] = picture
        return found


def _last_part(key: int | str) -> str | None:
    """What a sequence without video is called; None where the file says nothing of it."""
    part = str(key).rpartition("/")[2]
    return None if part in ("", ".", "..") else part
