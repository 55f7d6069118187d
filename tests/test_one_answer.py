"""One clip through everything that tracks: the same track file, byte for byte."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from motrail.cli.app import run
from motrail.remote.client import Client
from motrail.video.read import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Prove


TRACKERS = ["--tracker byte", "--tracker steady", "--tracker steady --camera-motion frames"]


class Clip(NamedTuple):
    """What is tracked, with what, and how many frames make a chunk."""

    video: Path
    model: tuple[str, ...]
    chunk: int


@contextmanager
def serving(clip: Clip, folder: Path) -> Iterator[str]:
    """`motrail serve` in a process of its own; its address."""
    words = ["serve", *clip.model[1:], "--port", "0", "--jobs-folder", str(folder)]
    with subprocess.Popen(
        [sys.executable, "-m", "motrail", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://\S+:\d+", process.stdout.readline())
            assert address is not None
            yield address[0]
        finally:
            process.terminate()
            process.wait(60)


def by_track(clip: Clip, out: Path, *flags: str) -> bytes:
    words = ["track", str(clip.video), *clip.model, "--no-video", "-o", str(out), *flags]
    assert run(words) == 0
    return (out / f"{clip.video.stem}.txt").read_bytes()


def by_batch(clip: Clip, out: Path, *steps: str) -> bytes:
    for step in steps:
        assert run(["batch", str(clip.video), str(out), *clip.model, *step.split()]) == 0
    return (out / f"{clip.video.stem}.txt").read_bytes()


def by_session(client: Client, clip: Clip) -> bytes:
    """Frame by frame, each when the one before is answered; rows as they come."""
    answers: list[bytes] = []
    with open_source(clip.video) as source, client.session(frame_rate=source.frame_rate) as session:
        invoke = session._transport.invoke

        def note(*given: object, **named: object) -> object:
            answer = invoke(*given, **named)  # type: ignore[arg-type]
            answers.append(answer.body)
            return answer

        session._transport.invoke = note  # type: ignore[assignment,method-assign]
        for frame in source:
            session.update(frame.image, frame.number)
        return b"".join(answers)  # before it is closed, which is answered, too


def by_remote(url: str, clip: Clip, out: Path) -> bytes:
    words = ["remote", "track", str(clip.video), "--url", url, "--png", "--no-video"]
    assert run([*words, "-o", str(out)]) == 0
    return (out / f"{clip.video.stem}.txt").read_bytes()


def by_job(client: Client, clip: Clip) -> bytes:
    job = client.submit(clip.video)
    assert job.wait().state == "done"
    return job.result("text/csv")


def every_way(clip: Clip, folder: Path) -> dict[str, bytes]:
    """The track file of each."""
    chunks = f"--workers 3 --chunk {clip.chunk}"
    shards = [f"{chunks} --shard {number}/3" for number in (3, 2, 1)]
    found = {
        "track": by_track(clip, folder / "track"),
        "track, 1 worker": by_track(clip, folder / "alone", "--workers", "1"),
        "batch, 1 worker": by_batch(clip, folder / "one", "--workers 1"),
        "batch, 3 workers": by_batch(clip, folder / "three", chunks),
        "batch, shards in reverse": by_batch(
            clip, folder / "shards", *shards, f"{chunks} --associate"
        ),
    }
    with serving(clip, folder / "jobs") as url, Client(url, encoding="png") as client:
        found["session"] = by_session(client, clip)
        found["session, several under way"] = by_remote(url, clip, folder / "remote")
        found["POST of the video"] = client.track(clip.video)
        found["job"] = by_job(client, clip)
    return found


@pytest.fixture
def check(tmp_path: Path) -> Callable[[Clip], int]:
    """Holds them equal; gives the number of rows."""

    def all_equal(clip: Clip) -> int:
        found = every_way(clip, tmp_path)
        expected = found["track"]
        assert [way for way, rows in found.items() if rows != expected] == []
        return expected.count(b"\n")

    return all_equal


@pytest.mark.parametrize("tracker", TRACKERS)
def test_eight_frames(data: Path, check: Callable[[Clip], int], tracker: str) -> None:
    model = str(data / "models" / "bytetrack_nano.onnx")
    video = data / "videos" / "mot17-04-8frames.mp4"
    words = ("-m", model, "--preset", "bytetrack", *tracker.split())
    assert check(Clip(video, words, 2)) > 100


@pytest.mark.proof
@pytest.mark.parametrize("tracker", TRACKERS)
def test_all_of_it(data: Path, check: Callable[[Clip], int], prove: Prove, tracker: str) -> None:
    model = str(data / "models" / "yolox_nano.onnx")
    clip = Clip(
        data / "videos" / "walking.mp4",
        ("-m", model, "--preset", "yolox", *tracker.split()),
        50,
    )
    rows = check(clip)
    assert rows > 1000
    prove(f"one answer: walking.mp4 in 9 ways, {tracker}", "byte-equal", f"{rows} rows equal")
