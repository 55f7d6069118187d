"""The loop: order, memory, and the end of it."""

from __future__ import annotations

import threading
import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail import ByteTracker, Detections, Frame, Tracks
from motrail.pipeline import Background, Sinks, ahead, in_order, track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def frames(count: int, stride: int = 1) -> Iterator[Frame]:
    for i in range(count):
        yield Frame(1 + i * stride, np.full((4, 4, 3), i % 256, np.uint8), i / 25)


class OneBox:
    """Sees one box whose place tells the frame; the later it is called, the faster it answers."""

    workers = 3

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        value = int(image[0, 0, 0])
        time.sleep(0.003 if value % 3 == 0 else 0)
        return Detections([[value, 0, value + 50, 50]], [0.9])


def motrail_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("motrail")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert motrail_threads() == []


def test_order_is_kept() -> None:
    results = list(track(frames(60), OneBox(), ByteTracker()))
    assert [frame.number for frame, _, _ in results] == list(range(1, 61))
    assert [int(d.boxes_xyxy[0, 0]) for _, d, _ in results] == list(range(60))
    assert {int(tracks.ids[0]) for _, _, tracks in results} == {1}


def test_the_tracker_is_told_of_steps_and_of_empty_frames() -> None:
    class Log:
        def __init__(self) -> None:
            self.calls: list[tuple[int, int]] = []

        def update(self, detections: Detections, *, step: int = 1) -> Tracks:
            self.calls.append((len(detections), step))
            return Tracks.empty()

    class Blind(OneBox):
        def detect(self, image: NDArray[np.uint8]) -> Detections:
            return Detections.empty()

    log = Log()
    numbers = [5, 8, 9, 20]
    some = (Frame(n, np.zeros((4, 4, 3), np.uint8), 0) for n in numbers)
    assert len(list(track(some, Blind(), log))) == 4
    assert log.calls == [(0, 1), (0, 3), (0, 1), (0, 11)]


def test_only_a_few_frames_are_under_way() -> None:
    produced = 0

    def counting() -> Iterator[Frame]:
        nonlocal produced
        for frame in frames(500):
            produced += 1
            yield frame

    results = track(counting(), OneBox(), ByteTracker())
    for consumed, _ in enumerate(results, start=1):
        assert produced - consumed < 3 + 2 * OneBox.workers + 3
        if consumed == 100:
            break
    results.close()


def test_memory_does_not_grow_with_the_length() -> None:
    def peak(count: int) -> int:
        big = (Frame(n, np.zeros((200, 300, 3), np.uint8), n / 25) for n in range(1, count + 1))
        tracemalloc.start()
        try:
            with Sinks([Background(Recorder(keep=False))]) as sinks:
                for frame, _, tracks in track(big, OneBox(), ByteTracker()):
                    sinks.write(frame, tracks)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(20)  # what is imported and set up once
    assert peak(600) < 1.15 * peak(60)


class BadReader(Exception):
    """The source failed."""


def test_an_error_of_the_source_comes_after_the_frames_before_it() -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(10)
        raise BadReader

    seen = []
    with pytest.raises(BadReader):
        for frame, _, _ in track(broken(), OneBox(), ByteTracker()):
            seen.append(frame.number)
    assert seen == sorted(seen)


def test_an_error_of_the_detector_ends_it_all() -> None:
    class Failing(OneBox):
        def detect(self, image: NDArray[np.uint8]) -> Detections:
            if image[0, 0, 0] == 20:
                raise RuntimeError("no memory")
            return super().detect(image)

    seen = 0
    with pytest.raises(RuntimeError, match="no memory"):
        for _ in track(frames(10_000), Failing(), ByteTracker()):
            seen += 1
    assert seen == 20


def test_an_error_of_the_tracker_ends_it_all() -> None:
    class Failing:
        def update(self, detections: Detections, *, step: int = 1) -> Tracks:
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        list(track(frames(1000), OneBox(), Failing()))


def test_leaving_early_closes_the_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(10_000)
        finally:
            closed.set()

    items = ahead(source())
    assert next(items) == 0
    items.close()
    assert closed.is_set()


def test_in_order_with_nothing() -> None:
    assert list(in_order(lambda x: x, iter(()), 2)) == []


class Recorder:
    """A sink that remembers."""

    def __init__(
        self,
        fail_at: int = -1,
        *,
        fail_finish: bool = False,
        fail_commit: bool = False,
        keep: bool = True,
    ) -> None:
        self.numbers: list[int] = []
        self.end = ""
        self.fail_at, self.keep = fail_at, keep
        self.fail_finish, self.fail_commit = fail_finish, fail_commit

    def write(self, frame: Frame, tracks: Tracks) -> None:
        if frame.number == self.fail_at:
            raise OSError("disk full")
        time.sleep(0.001)
        if self.keep:
            self.numbers.append(frame.number)

    def finish(self) -> None:
        if self.fail_finish:
            raise OSError("disk full at the end")
        self.end = "finished"

    def commit(self) -> None:
        if self.fail_commit:
            raise OSError("no rename")
        assert self.end == "finished"
        self.end = "committed"

    def discard(self) -> None:
        self.end = "discarded"


def test_background_sink_gets_everything_in_order() -> None:
    recorder = Recorder()
    with Sinks([Background(recorder)]) as sinks:
        for frame in frames(50):
            sinks.write(frame, Tracks.empty())
    assert recorder.numbers == list(range(1, 51))
    assert recorder.end == "committed"


@pytest.mark.parametrize("fail_at", [1, 25, 50])
def test_an_error_behind_the_scenes_is_raised_and_all_is_discarded(fail_at: int) -> None:
    bad, good = Recorder(fail_at), Recorder()
    with pytest.raises(OSError, match="disk full"), Sinks([Background(bad), good]) as sinks:
        for frame in frames(50):
            sinks.write(frame, Tracks.empty())
    assert (bad.end, good.end) == ("discarded", "discarded")


def test_an_error_at_the_end_discards_what_is_not_finished() -> None:
    first, bad, last = Recorder(), Recorder(fail_commit=True), Recorder()
    with pytest.raises(OSError, match="no rename"), Sinks([first, bad, last]):
        pass
    assert (first.end, bad.end, last.end) == ("committed", "discarded", "discarded")


def test_nothing_appears_when_one_cannot_be_finished() -> None:
    first, bad = Recorder(), Recorder(fail_finish=True)
    with pytest.raises(OSError, match="disk full at the end"), Sinks([Background(first), bad]):
        pass
    assert (first.end, bad.end) == ("discarded", "discarded")


def test_a_sink_that_cannot_be_made_discards_the_others() -> None:
    first = Recorder()

    def sinks() -> Iterator[Recorder]:
        yield first
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        Sinks(sinks())
    assert first.end == "discarded"


def test_interrupt_discards() -> None:
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt), Sinks([Background(recorder)]) as sinks:
        for frame, _, tracks in track(frames(100), OneBox(), ByteTracker()):
            sinks.write(frame, tracks)
            if frame.number == 30:
                raise KeyboardInterrupt
    assert recorder.end == "discarded"
