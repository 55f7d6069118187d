"""Read a JSON file part by part, holding a bounded piece of it in memory."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAX_PART = 1 << 24
"""The longest value that is read at once, in characters. The objects that JSON makes take up to 24
times the room of its text (`[[],[],…`), so this keeps a hostile value under 400 MB."""

CHUNK = 1 << 20
"""Bytes that are read from the file at a time."""

_SPACE = re.compile(r"[ \t\n\r]*")
_AFTER = " \t\n\r,:]}"
_BLANK = " \t\n\r"
_CUT_TOKEN = re.compile(
    r"-?|t|tr|tru|f|fa|fal|fals|n|nu|nul|Na?|-?I[a-z]{0,6}|[.eE][+-]?|\\?u?[0-9a-fA-F]{0,4}"
)
_TRIES = 50  # places looked at for the end of an element before going one by one


class NotJsonError(Exception):
    """The file is not the JSON that was expected; the text says what was found."""


class JsonStream:
    """Goes through the JSON object in a file, key by key, list element by list element.

    Args:
        file: Opened for reading bytes.
        chunk: Bytes to read at a time; `CHUNK` where not given.

    Attributes:
        place: JSON path of what is being read, such as `annotations[3]`.
    """

    def __init__(self, file: BinaryIO, chunk: int | None = None) -> None:
        self.place = ""
        self._file = file
        self._chunk = chunk or CHUNK
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._bytes = 0
        self._fills = 0
        self._ended = False

    def members(self) -> Iterator[str]:
        """The keys of the object that the file is.

        Before the next key is asked for, the value must be taken by `batches`, `value` or `skip`,
        wholly.

        Raises:
            NotJsonError: The file is something else, is cut off or goes on after the object.
        """
        first = self.peek()
        if not first:
            raise NotJsonError("expected a JSON object, found an empty file")
        if first != "{":
            raise NotJsonError(f"expected a JSON object, found {self.snippet()}")
        self._at += 1
        if self.peek() == "}":
            self._at += 1
        else:
            while True:
                self._want('"')
                key = str(self.value())
                self._take(":")
                self.place = key
                yield key
                self.place = ""
                if self._take(",}") == "}":
                    break
        if self.peek():
            raise NotJsonError(f"expected the end of the file, found {self.snippet()}")

    def batches(self) -> Iterator[tuple[int, list[object]]]:
        """The elements of the list that comes next, some at a time: place of the first, elements.

        Those before a broken one are handed out before the error is raised.

        Raises:
            NotJsonError: What comes is no list, or broken.
        """
        name, start = self.place, 0
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        more = True
        while more:
            self.place = f"{name}[{start}]"
            batch = self._many()
            trouble: NotJsonError | None = None
            try:
                more = self._one_by_one(batch, name, start)
            except NotJsonError as error:
                trouble = error
            yield start, batch
            if trouble is not None:
                raise trouble
            start += len(batch)
        self.place = name

    def value(self) -> object:
        """The value that comes next.

        Raises:
            NotJsonError: It is broken, cut off, nested too deeply or larger than `MAX_PART`.
        """
        if not self.peek():
            raise self._half()
        while True:
            trouble: ValueError | RecursionError | None = None
            try:
                value, end = self._scan(self._text, self._at)
            except (ValueError, RecursionError) as error:
                trouble = error
            if trouble is None and self._settled(end):
                self._at = end
                return value
            large = len(self._text) - self._at > MAX_PART
            if trouble is not None and (self._ended or large):
                raise self._broken(trouble) from None
            self._fill()

    def skip(self) -> None:
        """Pass over the value that comes next."""
        if self.peek() == "[":
            for _ in self.batches():
                pass
        else:
            self.value()

    def peek(self) -> str:
        """The next character that is no white space; nothing at the end of the file."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._fill()

    def _settled(self, end: int) -> bool:
        """Whether a value that ends there is whole: a number may go on in the file, as `1.5e-`."""
        rest = len(self._text) - end
        return self._ended or rest > 2 or (rest > 0 and self._text[end] in _AFTER)

    def _many(self) -> list[object]:
        """All elements that are wholly in memory but the last, parsed in one go where possible."""
        end = len(self._text)
        for _ in range(_TRIES):
            end = self._text.rfind("{", self._at + 1, end)
            if end == -1:
                break
            before = self._text[max(end - 1000, self._at) : end].rstrip(_BLANK)
            if not before.endswith(",") or not before[:-1].rstrip(_BLANK).endswith("}"):
                continue
            comma = self._text.rfind(",", self._at, end)
            try:
                # A cut that is not between two elements leaves brackets or quotes unmatched, so
                # that what is parsed here is nothing but elements of this list.
                batch = json.loads(f"[{self._text[self._at : comma]}]")
            except (ValueError, RecursionError):
                break
            self._at = end
            return batch if isinstance(batch, list) else []
        return []

    def _one_by_one(self, batch: list[object], name: str, start: int) -> bool:
        """Add elements until the next piece of the file is in memory; whether more follow."""
        fills = self._fills
        while self._fills == fills:
            self.place = f"{name}[{start + len(batch)}]"
            batch.append(self.value())
            if self._take(",]") == "]":
                return False
        return True

    def _want(self, characters: str) -> str:
        found = self.peek()
        if not found:
            raise self._half()
        if found not in characters:
            names = " or ".join(repr(c) for c in characters)
            raise NotJsonError(f"expected {names}, found {self.snippet()}")
        return found

    def _take(self, characters: str) -> str:
        found = self._want(characters)
        self._at += 1
        return found

    def _fill(self) -> None:
        rest = self._text[self._at :]
        # Twice as much each time, so that a long value is not parsed over and over.
        data = self._file.read(max(self._chunk, min(len(rest), MAX_PART - len(rest))))
        self._bytes += len(data)
        try:
            text = self._decode(data, not data)
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                raise self._half() from None
            at = self._bytes - len(error.object) + error.start
            byte = error.object[error.start]
            raise NotJsonError(f"expected UTF-8, found byte 0x{byte:02x} at byte {at}") from None
        self._text, self._at = rest + text, 0
        self._fills += 1
        self._ended = not data

    def _broken(self, error: ValueError | RecursionError) -> NotJsonError:
        if isinstance(error, RecursionError):
            return NotJsonError("expected JSON, found lists or objects nested too deeply")
        if not isinstance(error, json.JSONDecodeError):
            return NotJsonError("expected JSON, found a number of too many digits")
        rest = self._text[error.pos :]
        if error.msg.startswith("Unterminated") or _CUT_TOKEN.fullmatch(rest.rstrip(_BLANK)):
            if self._ended:
                return self._half()
            return NotJsonError(f"expected parts of up to {MAX_PART} characters, found a larger")
        return NotJsonError(f"expected JSON, found {rest[:30]!r}: {error.msg}")

    def _half(self) -> NotJsonError:
        return NotJsonError(
            "expected more, found the end of the file: it is half-written; write or fetch it again"
        )

    def snippet(self) -> str:
        """What comes next, shortened, for a message."""
        return repr(self._text[self._at : self._at + 30])
