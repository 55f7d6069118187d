"""Frames that wait go together: which, how many, and that nobody sees a difference."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail.errors import DataError
from motrail.remote.flight import in_flight
from motrail.remote.messages import encoder, in_one, joined, read_detections, read_tracks
from motrail.remote.problems import RemoteError
from motrail.remote.session import Session
from motrail.remote.transport import Answer
from motrail.serve.frames import read_frames
from motrail.types import Frame
from served import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

COLOURS = [(10, 200, 30), (250, 0, 120), (0, 0, 0)]


def picture(colour: tuple[int, int, int], width: int = 8) -> Any:
    return np.full((6, width, 3), colour, np.uint8)


def no_abort() -> None:
    pass


class Gate:
    """Doubles numbers, a call at a time and only when the test lets it."""

    def __init__(self) -> None:
        self.open = threading.Semaphore(0)
        self.calls: list[list[int]] = []

    def send(self, items: Sequence[int]) -> list[int]:
        self.calls.append([*items])
        assert self.open.acquire(timeout=20)
        return [2 * item for item in items]


class TestInFlight:
    def test_the_first_goes_at_once_and_who_waits_goes_together(self) -> None:
        gate = Gate()

        def items() -> Iterator[int]:
            yield from range(8)
            gate.open.release(8)

        found = list(in_flight(gate.send, items(), 1, no_abort, together=4))
        assert found == [(n, 2 * n) for n in range(8)]
        assert gate.calls[0] == [0]
        assert max(map(len, gate.calls)) == 4
        assert [item for call in gate.calls for item in call] == list(range(8))

    def test_only_those_that_join(self) -> None:
        gate = Gate()

        def items() -> Iterator[int]:
            yield from [0, 1, 2, 3, 10, 11, 20]
            gate.open.release(9)

        found = in_flight(
            gate.send, items(), 1, no_abort, together=9, joins=lambda one, other: other == one + 1
        )
        assert [answer for _, answer in found] == [0, 2, 4, 6, 20, 22, 40]
        assert gate.calls == [[0], [1, 2, 3], [10, 11], [20]]

    def test_an_error_is_that_of_all_that_went_together(self) -> None:
        def send(items: Sequence[int]) -> list[int]:
            if 3 in items:
                raise RemoteError("no threes")
            return [*items]

        found = []
        with pytest.raises(RemoteError, match="no threes"):
            for item, _ in in_flight(send, iter(range(6)), 2, no_abort, together=2):
                found.append(item)
        assert found == list(range(len(found)))
        assert len(found) <= 3

    def test_too_few_answers_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            list(in_flight(lambda items: [], [1], 1, no_abort))

    def test_leaving_early_gives_up_what_waits(self) -> None:
        gate = Gate()
        gave_up = threading.Event()

        def abort() -> None:
            gave_up.set()
            gate.open.release(5)

        gate.open.release(1)
        with closing(in_flight(gate.send, iter(range(50)), 1, abort, together=2)) as answers:
            assert next(answers) == (0, 0)
            until(lambda: len(gate.calls) == 2)
        assert gave_up.is_set()
        assert len(gate.calls) <= 3


class TestBodies:
    @pytest.mark.parametrize("count", [2, 3])
    def test_the_server_reads_what_is_joined(self, count: int) -> None:
        pictures = [picture(colour) for colour in COLOURS[:count]]
        kind, body = joined([encoder("png")(image) for image in pictures])
        frames, several = read_frames(body, kind, max_pixels=100)
        assert several
        assert [np.array_equal(f.decode(), p) for f, p in zip(frames, pictures, strict=True)] == (
            [True] * count
        )

    def test_large_ones_and_pixels_go_alone(self) -> None:
        def of(*sizes: int, kind: str = "image/jpeg") -> list[int]:
            return list(in_one([(kind, bytes(size)) for size in sizes]))

        assert of(1000, 1000, 1000, 1000) == [4]
        assert of(400_000, 200_000, 200_000, 200_000) == [1, 2, 1]
        assert of(9_000_000, 1, 1) == [1, 2]
        assert of(10, 10, 10, kind="application/x-npy") == [1, 1, 1]
        assert of() == []

    def test_rows_go_to_their_frames(self) -> None:
        body = b"4,1,0,0,2,2,.5,1,-1\n8,1,0,0,2,2,.5,1,-1\n8,2,5,5,1,1,.25,2,-1\n"
        assert [len(tracks) for tracks in read_tracks(body, [4, 6, 8])] == [1, 0, 2]
        first, second, third = read_detections(body, [8, 4, 5])
        assert (second.scores.tolist(), len(third)) == ([0.5], 0)
        assert first.class_ids.tolist() == [0, 1]
        for read in (read_tracks, read_detections):
            with pytest.raises(RemoteError, match="about other frames than those that were sent"):
                read(body, [4, 6])


class Line:
    """Notes what a session sends and says that nothing is there."""

    def __init__(self, size: int = 100) -> None:
        self.said: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self.held = threading.Event()

    def invoke(
        self, content_type: str, body: bytes, headers: Mapping[str, str], *, again: bool
    ) -> Answer:
        asked = headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
        if headers["X-Amzn-SageMaker-Session-Id"] == "NEW_SESSION":
            return Answer(200, {"x-amzn-sagemaker-new-session-id": "abc; Expires=x"}, b"{}")
        if "close" not in asked:
            assert self.held.wait(20)
            with self._lock:
                self.said.append((content_type.partition(";")[0], asked))
        return Answer(200, {"content-type": "text/csv"}, b"")

    def abort(self) -> None:
        pass


@pytest.fixture
def stream() -> Callable[..., list[tuple[str, str]]]:
    """What is sent for frames of these numbers, all of which wait."""

    def run(frames: Sequence[Frame], *, stride: int = 1, quality: int = 95) -> Any:
        line = Line()

        def all_of_them() -> Iterator[Frame]:
            yield from frames
            line.held.set()

        encode = encoder("jpeg", quality)
        with Session(line, encode, {}, stride=stride, in_flight=1) as session:
            seen = [frame.number for frame, _ in session.stream(all_of_them())]
            assert session.last == frames[-1].number
        assert seen == [frame.number for frame in frames]
        return sorted(line.said, key=lambda item: int(item[1].split("frame=")[1].split(";")[0]))

    return run


def frames_of(*numbers: int, width: int = 8) -> list[Frame]:
    return [Frame(number, picture(COLOURS[0], width), 0.0) for number in numbers]


class TestSession:
    def test_frames_without_a_gap_go_together(self, stream: Any) -> None:
        sent = stream(frames_of(1, 2, 3, 4))
        assert sum(kind == "multipart/form-data" for kind, _ in sent) >= 1
        assert sent[0][1] == "previous=0;frame=1"
        assert sent[-1][1] in ("previous=1;frame=2", "previous=2;frame=3", "previous=3;frame=4")

    def test_a_gap_or_another_size_parts_them(self, stream: Any) -> None:
        sent = stream(frames_of(2, 4, 8) + frames_of(10, width=9), stride=2)
        assert [asked for _, asked in sent][-2:] == ["previous=4;frame=8", "previous=8;frame=10"]
        assert [kind for kind, _ in sent][-2:] == ["image/jpeg", "image/jpeg"]

    def test_large_frames_go_one_by_one(self, stream: Any) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3), dtype=np.uint8)
        sent = stream([Frame(number, noise, 0.0) for number in (1, 2, 3)])
        assert sent == [
            ("image/jpeg", "previous=0;frame=1"),
            ("image/jpeg", "previous=1;frame=2"),
            ("image/jpeg", "previous=2;frame=3"),
        ]

    def test_what_is_no_picture(self) -> None:
        line = Line()
        with (
            Session(line, encoder("jpeg"), {}) as session,
            pytest.raises(DataError, match="expected an image file, found 0 bytes"),
        ):
            session.update(b"")
