"""Spoil a file of labels in seeded ways and read it; run as a process of its own, so that the
peak memory can be told.

    python mutations.py FORMAT FILE FIRST_SEED COUNT

Prints a line of JSON: how many reads were refused, how many went well, the longest in seconds and
the peak memory in MiB. Any other exception than FormatError ends it with a traceback.
"""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.errors import FormatError
from motrail.formats.labels import ReadOptions
from motrail.formats.recognize import open_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMIT = 20  # seconds for one read
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_KEY = re.compile(rb'"[\w-]+"\s*:\s*("[^"]*"|[-\d.]+|true|false|null)\s*,?|\s[\w-]+="[^"]*"')
_NUMBERS = [
    b"-1", b"0", b"1e999", b"-5", b"9999999999999999999999", b"1e9", b"2000000000", b"NaN",
    b"4294967296", b"-9223372036854775808", b"0.5", b"1" * 5000, b'"x"', b"null", b"[]", b"{}",
]  # fmt: skip


def spoil(data: bytes, seed: int) -> bytes:
    """The file with one to three faults of kinds that the seed chooses."""
    rng = random.Random(seed)  # noqa: S311
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(_WAYS)(data, rng)
    return data


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 30))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def drop(data: bytes, rng: random.Random) -> bytes:
    return _replace(data, _KEY, rng, bytes)


def change(data: bytes, rng: random.Random) -> bytes:
    return _replace(data, _NUMBER, rng, lambda: rng.choice(_NUMBERS))


def nest(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    what = rng.choice((b"[", b'{"a":', b"<a>", b"<track id='1' label='x'>"))
    return data[:place] + what * rng.choice((10, 5_000, 200_000)) + data[place:]


def double(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:last][:100_000] + data[last:]


def nibble(data: bytes, rng: random.Random, pieces: Sequence[bytes]) -> bytes:
    """Small faults, so that about as many files can be read as not."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[place] = rng.randrange(256)
            case 1:
                content[place:place] = rng.choice(pieces)
            case 2:
                del content[place : place + rng.randint(1, 60)]
            case _:
                content[place : place + 1] = str(rng.randrange(10)).encode()
    return bytes(content)


def _replace(
    data: bytes, what: re.Pattern[bytes], rng: random.Random, by: Callable[[], bytes]
) -> bytes:
    places = [match.span() for match in what.finditer(data)]
    chosen = sorted(rng.sample(places, min(len(places), rng.choice((1, 2, 9)))))
    for start, end in reversed(chosen):
        data = data[:start] + by() + data[end:]
    return data


_WAYS = (cut, flip, drop, change, change, nest, double)


def read(format_: str, path: Path) -> bool:
    """Whether the file was read to the end; False where it was refused."""
    options = ReadOptions(size=(1920, 1080), name="clip")
    try:
        for labels in open_labels(path, options, format_=format_):
            if (labels.boxes_xywh[:, 2:] <= 0).any() or (labels.frames < 1).any():
                raise AssertionError(f"{path}: read boxes that cannot be")
    except FormatError:
        return False
    return True


def peak_memory() -> float:
    """Of this process, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # `getrusage` hands on the peak of the process that started this one
        found = re.search(r"VmHWM:\s+([0-9]+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    format_, name, first, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    data = name.read_bytes()
    good, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip" / "gt" / name.name
        path.parent.mkdir(parents=True)
        if (name.parents[1] / "seqinfo.ini").is_file():
            shutil.copy(name.parents[1] / "seqinfo.ini", path.parents[1])
        for seed in range(first, first + count):
            path.write_bytes(spoil(data, seed))
            start = time.perf_counter()
            signal.alarm(LIMIT)
            try:
                good += read(format_, path)
            except BaseException:
                sys.stderr.write(f"seed {seed}\n")
                raise
            signal.alarm(0)
            slowest = max(slowest, time.perf_counter() - start)
    json.dump(
        {"good": good, "refused": count - good, "slowest": slowest, "peak": peak_memory()},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
