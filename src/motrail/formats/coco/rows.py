"""The images and annotations of a COCO file as columns, put aside until a sequence is asked for."""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING

import numpy as np

from motrail.formats.coco.checks import NOT_SAID, Field, repeated, show
from motrail.formats.coco.spool import Lines, joined_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from motrail.formats.coco.checks import Checker, Element
    from motrail.formats.coco.spool import Spool
    from motrail.formats.labels import Coded

MAX_IMAGES = 4_000_000
"""Images of one file: each takes 52 bytes while the file is read."""
MAX_SEQUENCES = 100_000
MAX_BOXES = 3_000_000
"""Boxes of one sequence: all of them are in memory at once."""
MAX_TEXT = 1 << 25
"""Bytes of one sequence's distinct attributes; as objects they can take 24 times the room."""

IMAGE = np.dtype(
    [
        ("index", "i4"),
        ("id", "i8"),
        ("group", "i4"),
        ("frame", "i8"),
        ("width", "i4"),
        ("height", "i4"),
        ("text", "i8"),
        ("name_bytes", "i4"),
        ("attribute_bytes", "i4"),
    ]
)
"""An image: its place in the file, and where the `Spool` has its name and attributes."""

ROW = np.dtype(
    [
        ("index", "i8"),
        ("image", "i4"),
        ("category", "i8"),
        ("track", "i8"),
        ("box", "f8", (4,)),
        ("visibility", "f8"),
        ("ignore", "?"),
        ("keyframe", "?"),
    ]
)
"""An annotation: its place in the file, and the row of its image in `Images.table`."""

_SIZE = 1_000_000
_IMAGE_FIELDS = (
    Field("id", "whole", None),
    Field("video_id", "whole", NOT_SAID),
    Field("frame_id", "whole", NOT_SAID),
    Field("width", "whole", 0, 0, _SIZE),
    Field("height", "whole", 0, 0, _SIZE),
)
_ANNOTATION_FIELDS = (
    Field("image_id", "whole", None),
    Field("category_id", "whole", None),
    Field("id", "whole", NOT_SAID),
    Field("track_id", "whole", -1),
    Field("visibility", "number", -1.0, -np.inf, np.inf),
    Field("keyframe", "flag", 1, 0, 1),
    Field("iscrowd", "flag", 0, 0, 1),
    Field("ignore", "flag", 0, 0, 1),
)
_KNOWN = frozenset(
    {"bbox", "area", "attributes", "source_id", "video_id", *(f.key for f in _ANNOTATION_FIELDS)}
)


class Images:
    """The images of a file, in groups that are its sequences.

    Images with a `video_id` are grouped by it. In a file where none has one, the folder of the
    file name is the group (`SEQ/img1/000001.jpg` and `SEQ/000001.jpg` belong to `SEQ`); where any
    has no folder, all are one group.

    Args:
        check: Told of faults.
        spool: Takes names and attributes.

    Attributes:
        table: Sorted by group, then id; filled by `finish`. Group -1: left out.
        groups: What stands for each group: a `video_id`, or a folder ("" for all images).
        first: Row in `table` of each group's first image, and the end of the last group.
        in_videos: Whether any image had a `video_id`.
    """

    def __init__(self, check: Checker, spool: Spool) -> None:
        self._check = check
        self._spool = spool
        self._parts: list[NDArray[Any]] = []
        self._count = 0
        self._places: dict[int | str, int] = {}
        self.table = np.zeros(0, IMAGE)
        self.groups: list[int | str] = []
        self.first = np.zeros(1, np.int64)
        self.in_videos = False

    def add(self, start: int, batch: list[object]) -> None:
        """Take a part of the list of images."""
        elements, indices, numbers = self._check.take("images", start, batch, _IMAGE_FIELDS)
        self._count += len(elements)
        if self._count > MAX_IMAGES:
            self._check.fault("images", "images", f"expected at most {MAX_IMAGES} images")
            self._count -= len(elements)
            return
        table = np.zeros(len(elements), IMAGE)
        for key in ("id", "width", "height"):
            table[key] = numbers[key]
        table["frame"] = numbers["frame_id"]
        table["index"] = indices
        texts = []
        groups = numbers["video_id"].tolist()
        for row, (index, element) in enumerate(zip(indices.tolist(), elements, strict=True)):
            name, attributes = self._texts(index, element)
            texts += [name, attributes]
            if groups[row] == NOT_SAID:
                groups[row] = _folder(name.decode())
        sizes = np.array([len(text) for text in texts], np.int64).reshape(-1, 2)
        table["name_bytes"], table["attribute_bytes"] = sizes.T
        starts = np.cumsum(sizes.sum(axis=1)) - sizes.sum(axis=1)
        table["text"] = self._spool.put(b"".join(texts)) + starts
        table["group"] = [self._group(key) for key in groups]
        self._parts.append(table)

    def finish(self) -> None:
        """See the images together, and sort them."""
        table = np.concatenate([self.table, *self._parts])
        self._parts.clear()
        keys = list(self._places)
        self.in_videos = any(isinstance(key, int) for key in keys)
        whole = not self.in_videos and "" in self._places
        self.groups = [""] if whole else [k for k in keys if isinstance(k, int) == self.in_videos]
        place = {key: number for number, key in enumerate(self.groups)}
        number = np.array([0 if whole else place.get(key, -1) for key in keys], np.int64)
        if len(table):
            table["group"] = number[table["group"]]
        for index in table["index"][table["group"] == -1].tolist():
            where = f"images[{index}].video_id"
            self._check.fault("layout", where, "expected the id of a video, found nothing")
        again = repeated(table["id"], table["index"])
        for index, first in again:
            self._check.fault(
                "duplicate",
                f"images[{index}].id",
                f"expected each id once, found it again (first: images[{first}])",
            )
        table["group"][np.isin(table["index"], [index for index, _ in again])] = -1
        self.table = table[np.lexsort((table["index"], table["id"], table["group"]))]
        self.first = np.searchsorted(self.table["group"], np.arange(len(self.groups) + 1))
        self._by_id = np.lexsort((self.table["group"] == -1, self.table["id"]))
        self._ids = self.table["id"][self._by_id]

    def find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows in `table` of images by id; -1 where there is none. After `finish`."""
        if not len(self._ids):
            return np.full(len(ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[at] == ids, self._by_id[at], -1)

    def name(self, row: int) -> str:
        """The file name of an image; nothing where it has none."""
        image = self.table[row]
        return self._spool.get(int(image["text"]), int(image["name_bytes"])).decode()

    def attributes(self, row: int) -> dict[str, object]:
        """The attributes of an image that has some."""
        image = self.table[row]
        start = int(image["text"]) + int(image["name_bytes"])
        value = json.loads(self._spool.get(start, int(image["attribute_bytes"])))
        return value if isinstance(value, dict) else {"attributes": value}

    def _texts(self, index: int, element: Element) -> tuple[bytes, bytes]:
        name, attributes = element.get("file_name"), element.get("attributes")
        text = None
        if name is not None:
            text = self._check.text(f"images[{index}].file_name", name)
        packed = b""
        if attributes is not None:
            packed = self._check.packed(f"images[{index}].attributes", attributes)
        return (text or "").encode(), packed

    def _group(self, key: int | str) -> int:
        if key not in self._places and len(self._places) >= MAX_SEQUENCES:
            what = f"expected at most {MAX_SEQUENCES} videos or folders of images"
            self._check.fault("images", "images", what)
            return 0
        return self._places.setdefault(key, len(self._places))


class Annotations:
    """The annotations of a file, put aside by group of images.

    Args:
        check: Told of faults.
        spool: Takes the annotations.
        images: All of them.
    """

    def __init__(self, check: Checker, spool: Spool, images: Images) -> None:
        self._check = check
        self._spool = spool
        self._images = images
        self._ids = array("q")
        self._places = array("q")
        self._parts = array("q")  # group, where, rows, bytes of attributes, bytes of source ids
        self._left_out = np.zeros(0, np.int64)

    def add(self, start: int, batch: list[object]) -> None:
        """Take a part of the list of annotations."""
        checked = self._check.take("annotations", start, batch, _ANNOTATION_FIELDS, box=True)
        elements, indices, numbers = checked
        if not elements:
            return
        image = self._images.find(numbers["image_id"])
        for row in np.flatnonzero(image == -1).tolist():
            where = f"annotations[{indices[row]}].image_id"
            what = f"expected the id of an image, found {numbers['image_id'][row]}"
            self._check.fault("image", where, what)
        group = np.append(self._images.table["group"], -1)[image]
        table = np.zeros(len(elements), ROW)
        table["index"], table["image"], table["box"] = indices, image, numbers["bbox"]
        table["category"], table["track"] = numbers["category_id"], numbers["track_id"]
        for row in np.flatnonzero(numbers["track_id"] == -1).tolist():
            table["track"][row] = _track_in_attributes(elements[row])
        table["visibility"], table["keyframe"] = numbers["visibility"], numbers["keyframe"]
        own = np.array(["ignore" in element for element in elements])
        table["ignore"] = np.where(own, numbers["ignore"], numbers["iscrowd"])
        said = numbers["id"] != NOT_SAID
        self._ids.frombytes(numbers["id"][said].tobytes())
        self._places.frombytes(indices[said].tobytes())
        pairs = list(zip(indices.tolist(), elements, strict=True))
        attributes = [self._attributes(*pair) for pair in pairs]
        sources = [self._source(*pair) for pair in pairs]
        order = np.argsort(group, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            if group[rows[0]] != -1:
                self._put(
                    int(group[rows[0]]),
                    table[rows].tobytes(),
                    joined_lines(attributes, rows),
                    joined_lines(sources, rows),
                )

    def finish(self) -> None:
        """See the annotations together."""
        ids, places = np.array(self._ids, np.int64), np.array(self._places, np.int64)
        pairs = repeated(ids, places)
        for index, first in pairs:
            self._check.fault(
                "duplicate",
                f"annotations[{index}].id",
                f"expected each id once, found it again (first: annotations[{first}])",
            )
        self._left_out = np.array([index for index, _ in pairs], np.int64)
        self._ids, self._places = array("q"), array("q")
        parts = np.array(self._parts, np.int64).reshape(-1, 5)
        self._parts_by_group = parts[np.argsort(parts[:, 0], kind="stable")]

    def rows(self, group: int) -> tuple[NDArray[Any], Coded[Mapping[str, object]], Coded[str]]:
        """The rows of a group in the order of the file, their attributes and source ids."""
        parts = self._parts_by_group
        start, end = np.searchsorted(parts[:, 0], [group, group + 1])
        tables, attributes, sources = [np.zeros(0, ROW)], Lines(), Lines()
        count = 0
        for _, where, rows, attribute_bytes, source_bytes in parts[start:end].tolist():
            count += rows
            if count > MAX_BOXES or attributes.size + sources.size > MAX_TEXT:
                self._check.fault(
                    "memory",
                    "annotations",
                    f"expected at most {MAX_BOXES} boxes and {MAX_TEXT} bytes of distinct "
                    "attributes in one sequence, found more; split the file",
                )
                break
            size = rows * ROW.itemsize
            data = self._spool.get(where, size + attribute_bytes + source_bytes)
            tables.append(np.frombuffer(data[:size], ROW))
            attributes.add(rows, data[size : size + attribute_bytes])
            sources.add(rows, data[size + attribute_bytes :])
        table = np.concatenate(tables)
        keep = ~np.isin(table["index"], self._left_out)
        return table[keep], attributes.coded()[keep], sources.coded()[keep]

    def _put(self, group: int, rows: bytes, attributes: bytes, sources: bytes) -> None:
        where = self._spool.put(rows + attributes + sources)
        count = len(rows) // ROW.itemsize
        self._parts.extend((group, where, count, len(attributes), len(sources)))

    def _attributes(self, index: int, element: Element) -> bytes:
        own = element.get("attributes")
        if own is None and _KNOWN.issuperset(element):
            return b""
        rest = {
            key: value
            for key, value in element.items()
            if key not in _KNOWN
            and value not in (None, [], {}, "")
            and not (key == "num_keypoints" and value == 0)
        }
        if own is not None:
            rest |= own if isinstance(own, dict) else {"attributes": own}
        elif not rest:
            return b""
        return self._check.packed(f"annotations[{index}].attributes", rest)

    def _source(self, index: int, element: Element) -> bytes:
        source = element.get("source_id")
        if source is None:
            return b""
        place = f"annotations[{index}].source_id"
        if not isinstance(source, str | int):
            self._check.fault("layout", place, f"expected text, found {show(source)}")
            return b""
        return self._check.packed(place, str(source))


def _track_in_attributes(element: Element) -> int:
    """The track id that CVAT's COCO export keeps among the attributes; -1 where there is none."""
    attributes = element.get("attributes")
    track = attributes.get("track_id") if isinstance(attributes, dict) else None
    usable = isinstance(track, int) and not isinstance(track, bool) and 0 <= track < 2**53
    return track if usable else -1  # type: ignore[return-value]


def _folder(name: str) -> str:
    """The folder that an image's sequence is named by; nothing where it stands in none."""
    folder = name.replace("\\", "/").rpartition("/")[0]
    parent, _, last = folder.rpartition("/")
    return parent if last == "img1" else folder
