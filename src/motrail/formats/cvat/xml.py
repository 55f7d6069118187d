"""Go through the XML of CVAT once, as a stream.

The file is hostile until it is read: no document types, no entities, no deep or endless elements,
no more boxes, names and texts than a labelled video can have.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, NoReturn
from xml.parsers import expat

from motrail.formats.cvat.document import MAX_DISTINCT, MAX_NAMES, BrokenError, Document
from motrail.formats.labels import MAX_FRAMES

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.formats.faults import Found

MAX_BYTES = 1 << 30
"""Of XML, unpacked."""
MAX_DIRECTORY = 1 << 25
"""Bytes in the list of files of a .zip: some 300,000 pictures."""
MAX_DEPTH = 16
MAX_TEXT = 1 << 16
"""Characters in the attributes of a box, or in a text of the meta part."""
MAX_TOKEN = 1 << 20
"""Bytes in a tag or comment."""

_CHUNK = 1 << 16
_SHAPES = frozenset({"polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"})
_SIDES = ("xtl", "ytl", "xbr", "ybr")
_FLAGS = {"0": False, "1": True, "false": False, "true": True, "False": False, "True": True}
_META = frozenset({"name", "source", "size", "start_frame", "stop_frame", "frame_filter"})
_CUT = frozenset(
    {
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
    }
)


class _Parser:
    """Puts what expat reports into a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        # Whatever the file claims: CVAT writes UTF-8, and others would need code from outside.
        self._expat = expat.ParserCreate("utf-8", intern=self._names)
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters
        self._expat.StartDoctypeDeclHandler = self._refuse_doctype
        self._stack: list[str] = []
        self._text: list[str] | None = None
        self._text_length = 0
        self._line = 0
        self._parent: dict[str, str] = {}
        self._parent_line = 0
        self._usable = False
        self._track: int | None = None
        self._track_id: int | None = None
        self._frame = 0
        self._told = False
        self._box: dict[str, str] | None = None
        self._values: dict[str, object] = {}
        self._name = ""
        self._tasks = 0

    def read(self, file: IO[bytes]) -> None:
        """Read to the end."""
        fed = 0
        while chunk := file.read(_CHUNK):
            fed += len(chunk)
            line = self._expat.CurrentLineNumber
            if fed > MAX_BYTES:
                self._document.give_up("expected at most 1 GB of XML, found more", line)
            self._parse(chunk)
            if fed - self._expat.CurrentByteIndex > MAX_TOKEN:
                self._document.give_up("expected tags of less than 1 MB, found more", line)
            if len(self._names) > MAX_NAMES:
                self._document.give_up(f"expected at most {MAX_NAMES} names, found more", line)
        self._parse(b"", last=True)

    def _parse(self, chunk: bytes, *, last: bool = False) -> None:
        try:
            self._expat.Parse(chunk, last)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            if last or error.code in _CUT:
                message = (
                    f"expected XML up to </annotations>, found the end ({reason}): half-written?"
                )
            else:
                message = f"expected XML in UTF-8, found a fault in it: {reason}"
            raise BrokenError("layout", self._document.path, message, error.lineno) from None

    def _refuse_doctype(self, *_: object) -> None:
        self._document.give_up(
            "expected no DOCTYPE and no ENTITY, found one; CVAT writes none",
            self._expat.CurrentLineNumber,
        )

    def _start(self, name: str, attrs: dict[str, str]) -> None:
        self._stack.append(name)
        depth = len(self._stack)
        line = self._expat.CurrentLineNumber
        if depth == 3 and self._stack[1] in ("track", "image"):
            self._start_shape(name, attrs, line)
        elif depth == 4 and self._box is not None and name == "attribute":
            self._name = attrs.get("name", "")
            self._text = []
        elif depth == 2:
            self._start_group(name, attrs, line)
        elif depth == 1 and name != "annotations":
            self._document.give_up(f"expected CVAT's <annotations>, found <{name[:40]}>", line)
        elif depth > MAX_DEPTH:
            self._document.give_up(
                f"expected at most {MAX_DEPTH} nested elements, found more", line
            )
        elif depth > 2 and self._stack[1] == "meta":
            self._start_meta(name, line)

    def _start_meta(self, name: str, line: int) -> None:
        self._text, self._text_length, self._line = [], 0, line
        if name == "task" and self._stack[-2] == "tasks":
            self._tasks += 1
            if self._tasks > 1:
                self._document.give_up(
                    "expected one task, found a project of several; export them one by one", line
                )

    def _start_group(self, name: str, attrs: dict[str, str], line: int) -> None:
        self._parent, self._parent_line = attrs, line
        self._track, self._told = None, False
        if name == "image":
            self._usable = self._start_image(attrs, line)
        elif name == "track":
            self._usable = self._start_track(attrs, line)

    def _start_track(self, attrs: dict[str, str], line: int) -> bool:
        self._track_id = _whole(attrs["id"]) if "id" in attrs else None
        if "id" in attrs and self._track_id is None:
            message = f"expected a track id, a whole number from 0, found {attrs['id'][:40]!r}"
            self._document.fault("number", message, line)
        elif not attrs.get("label"):
            self._document.fault("class", "expected a track with a label, found none", line)
        else:
            return True
        return False

    def _start_image(self, attrs: dict[str, str], line: int) -> bool:
        document = self._document
        frame = _whole(attrs.get("id", str(len(document.images))))
        if frame is None or frame >= MAX_FRAMES:
            document.fault("frame", f"expected an image id, found {attrs['id'][:40]!r}", line)
            return False
        if frame in document.images:
            document.fault("duplicate", f"expected each image once, found {frame} again", line)
            return False
        if len(document.images) == MAX_DISTINCT:
            document.give_up(f"expected at most {MAX_DISTINCT} images, found more", line)
        width, height = _whole(attrs.get("width", "")), _whole(attrs.get("height", ""))
        if width and height:
            size = document.image_size = document.image_size or (width, height)
            if size != (width, height):
                message = (
                    f"expected images of {size[0]}×{size[1]} as the first, found {width}×{height}; "
                    "a sequence has one size"
                )
                document.fault("image-size", message, line)
                return False
        document.images[frame] = attrs.get("name", "")[:MAX_TEXT]
        self._frame = frame
        return True

    def _start_shape(self, name: str, attrs: dict[str, str], line: int) -> None:
        if not self._usable:
            return
        if name == "box":
            self._box, self._values, self._text_length = attrs, {}, 0
            self._line = line
        elif name in _SHAPES and not self._told:
            self._told = True
            message = f"expected boxes, found <{name}>; only boxes are read"
            self._document.fault("layout", message, line)

    def _characters(self, text: str) -> None:
        if self._text is None:
            return
        self._text_length += len(text)
        if self._text_length > MAX_TEXT:
            self._document.give_up(
                f"expected at most {MAX_TEXT} characters of text, found more",
                self._expat.CurrentLineNumber,
            )
        self._text.append(text)

    def _end(self, name: str) -> None:
        self._stack.pop()
        depth = len(self._stack)
        if self._text is not None:
            text, self._text = "".join(self._text), None
            if depth == 3 and self._box is not None:
                self._values[self._name] = text
                self._text_length += len(self._name)
            elif depth > 1 and self._stack[1] == "meta":
                self._end_meta(name, text)
        elif depth == 2 and self._box is not None:
            with contextlib.suppress(_FaultyError):
                self._end_box(self._box)
            self._box = None

    def _end_meta(self, name: str, text: str) -> None:
        parent = self._stack[-1]
        if parent == "label" and name == "name":
            self._document.add_class(text, self._line)
        elif (name in _META and parent in ("task", "job", "meta")) or (
            parent == "original_size" and name in ("width", "height")
        ):
            self._document.meta.setdefault(name, (text, self._line))

    def _end_box(self, box: dict[str, str]) -> None:
        in_image = self._stack[1] == "image"
        corners = [self._coordinate(box, side) for side in _SIDES]
        frame = self._frame if in_image else self._frame_of(box)
        outside = self._flag(box, "outside", default="0")
        keyframe = self._flag(box, "keyframe", default="1")
        # What our writer made a keyframe for CVAT's sake.
        filled = self._flag(box, "filled", default="0")
        label = box.get("label", "") if in_image else self._parent["label"]
        if not label:
            self._refuse("class", "expected a box with a label, found none")
        values = self._described(box)
        if in_image:
            self._track = self._document.add_track(-1, self._line)
        elif self._track is None:
            self._track = self._document.add_track(self._track_id, self._parent_line)
        row = {
            "track": self._track,
            "frame": frame,
            "class_id": self._document.add_class(label, self._line),
            "outside": outside and not in_image,
            "keyframe": keyframe and not filled,
        }
        self._document.add_box(corners, values, row, self._line)

    def _described(self, box: dict[str, str]) -> dict[str, object]:
        """The attributes of a box by name."""
        values: dict[str, object] = {}
        if self._flag(box, "occluded", default="0"):
            values["occluded"] = True
        for name, text in (
            ("z_order", box.get("z_order")),
            ("rotation", box.get("rotation")),
            ("group_id", box.get("group_id", self._parent.get("group_id"))),
        ):
            if text is not None and (number := self._number(name, text)):
                values[name] = int(number) if number.is_integer() else number
        source = box.get("source", self._parent.get("source", "manual"))
        if source not in ("manual", ""):
            values["source"] = source
        return values | self._values

    def _coordinate(self, box: dict[str, str], side: str) -> float:
        if side not in box:
            self._refuse("layout", f"expected a box with xtl, ytl, xbr and ybr, found no {side}")
        return self._number(side, box[side])

    def _number(self, name: str, text: str) -> float:
        try:
            number = float(text) if len(text) <= 40 and "_" not in text else math.nan
        except ValueError:
            number = math.nan
        if not abs(number) <= 1e9:
            self._refuse("number", f"expected a number as {name}, found {text[:40]!r}")
        return number

    def _flag(self, box: dict[str, str], name: str, *, default: str) -> bool:
        text = box.get(name, default)
        if text not in _FLAGS:
            self._refuse("layout", f"expected {name} to be 0 or 1, found {text[:40]!r}")
        return _FLAGS[text]

    def _frame_of(self, box: dict[str, str]) -> int:
        text = box.get("frame", "")
        frame = _whole(text)
        if frame is None or frame >= MAX_FRAMES:
            message = f"expected a frame of 0 to {MAX_FRAMES - 1}, found {text[:40]!r}"
            self._refuse("frame", message)
        return frame

    def _refuse(self, kind: str, message: str) -> NoReturn:
        self._document.fault(kind, message, self._line)
        raise _FaultyError


class _FaultyError(Exception):
    """The box at hand has a fault, which is told already."""


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def read_document(path: Path, found: Found) -> Document:
    """Read an XML file, or the one in a .zip.

    Raises:
        BrokenError: It cannot be read to its end.
    """
    try:
        if not path.is_file():
            raise BrokenError("layout", path, "expected a file of CVAT, found none")
        with path.open("rb") as file:
            packed = file.read(4) == b"PK\3\4"
            file.seek(0)
            return _read_packed(path, file, found) if packed else _read_xml(path, file, found)
    except OSError as error:
        raise BrokenError("layout", path, f"cannot be read: {error.strerror or error}") from None


def _read_xml(path: Path, file: IO[bytes], found: Found) -> Document:
    document = Document(path, found)
    _Parser(document).read(file)
    document.close()
    return document


def _read_packed(path: Path, file: IO[bytes], found: Found) -> Document:
    _check_directory(path, file)
    try:
        with zipfile.ZipFile(file) as packed:
            member = _find_member(path, packed)
            with packed.open(member) as unpacked:
                return _read_xml(path / PurePosixPath(member.filename).name, unpacked, found)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        message = f"expected a .zip as CVAT exports it, found a broken one: {error}"
        raise BrokenError("layout", path, message[:300]) from None


def _check_directory(path: Path, file: IO[bytes]) -> None:
    """See that the list of files is not too long to be read at once."""
    file.seek(0, 2)
    file.seek(max(file.tell() - (1 << 17), 0))
    end = file.read()
    file.seek(0)
    for mark, place, layout in ((rb"PK\x05\x06", 12, "<I"), (rb"PK\x06\x06", 40, "<Q")):
        for match in re.finditer(mark, end):
            field = end[match.start() + place :][: struct.calcsize(layout)]
            size = struct.unpack(layout, field)[0] if len(field) == struct.calcsize(layout) else 0
            if size > MAX_DIRECTORY and not (layout == "<I" and size == 0xFFFFFFFF):
                message = f"expected a list of files of at most {MAX_DIRECTORY} bytes, found {size}"
                raise BrokenError("layout", path, message)


def _find_member(path: Path, packed: zipfile.ZipFile) -> zipfile.ZipInfo:
    files = [info for info in packed.infolist() if info.filename.lower().endswith(".xml")]
    named = [info for info in files if info.filename.rpartition("/")[2] == "annotations.xml"]
    files = named or files
    if len(files) != 1:
        message = f"expected one annotations.xml in the .zip, found {len(files)}"
        raise BrokenError("layout", path, message)
    # The other methods can unpack a few bytes to gigabytes in one step.
    if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        message = "expected a .zip that is deflated or stored, found another method"
        raise BrokenError("layout", path, message)
    return files[0]
