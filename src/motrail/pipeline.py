"""The one loop: frames → detections → tracks → results.

Every runner is this loop with another source and another sink. Decoding, the network and the
writing of video run beside each other in threads joined by short queues: the order is kept, memory
does not grow with the length of the video, and an error anywhere ends all of it with its own
message.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast

from motrail.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from motrail.moving import Camera
    from motrail.track.motion import Motion
    from motrail.types import Detections, Frame, Tracks

T = TypeVar("T")
R = TypeVar("R")

_FRAMES_AHEAD = 3
_STOP_CHECK = 0.1  # seconds until a thread that waits notices that it is not needed any more


class Detector(Protocol):
    """Finds objects in pictures; safe to call from several threads."""

    @property
    def workers(self) -> int:
        """How many calls at the same time make good use of the machine."""

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Objects in a BGR uint8 picture of shape (height, width, 3)."""


class Tracker(Protocol):
    """Gives detections an identity."""

    def update(self, detections: Detections, *, step: int = 1) -> Tracks:
        """Take in the next frame, `step` frames of the source after the last."""


class MovedTracker(Protocol):
    """A tracker that is told how the camera moved."""

    def update(
        self, detections: Detections, *, step: int = 1, motion: Motion | None = None
    ) -> Tracks:
        """As that of `Tracker`, and `motion` is the camera's since the last frame."""


class Sink(Protocol):
    """Takes the results of a frame; finished at the end or thrown away after an error."""

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Take the next frame."""

    def finish(self) -> None:
        """All frames are there: write what is still to be written."""

    def commit(self) -> None:
        """Let the finished result appear."""

    def discard(self) -> None:
        """Something failed: leave nothing behind. Never raises, may be called at any time."""


def track(
    frames: Iterable[Frame], detector: Detector, tracker: Tracker, camera: Camera | None = None
) -> Generator[tuple[Frame, Detections, Tracks]]:
    """Run the loop.

    Args:
        frames: Frames in order; those left out are seen by their numbers.
        detector: Its `detect` is called for several frames at once, in threads.
        tracker: Is told of every frame in order, the empty ones too.
        camera: See `follow`.

    Yields:
        Each frame with what was detected and tracked in it.

    Raises:
        ModelError: The network failed or answered with NaN; the message names the frame.
    """
    return follow(detect(frames, detector), tracker, camera)


def follow(
    found: Generator[tuple[Frame, Detections]], tracker: Tracker, camera: Camera | None = None
) -> Generator[tuple[Frame, Detections, Tracks]]:
    """The second half of the loop: each frame with what was detected and tracked in it.

    Args:
        found: Frames in order with their detections; closed at the end.
        tracker: Is told of every frame, the empty ones too.
        camera: Says how the camera moved, which the tracker is told, too; None where the tracker
            needs nobody for that. See `motrail.moving.open_camera`.
    """
    last: int | None = None
    with contextlib.closing(found):
        for frame, detections in found:
            step = 1 if last is None else frame.number - last
            last = frame.number
            if camera is None:
                tracks = tracker.update(detections, step=step)
            else:
                motion = camera.motion(frame, detections)
                moved = cast("MovedTracker", tracker)
                tracks = moved.update(detections, step=step, motion=motion)
            yield frame, detections, tracks


def detect(frames: Iterable[Frame], detector: Detector) -> Generator[tuple[Frame, Detections]]:
    """The first half of the loop: each frame with what was detected in it, in order.

    Raises:
        ModelError: The network failed or answered with NaN; the message names the frame.
    """

    def look(frame: Frame) -> Detections:
        try:
            return detector.detect(frame.image)
        except ModelError as error:
            raise ModelError(f"frame {frame.number}: {error}") from None

    return in_order(look, ahead(frames), detector.workers)


def ahead(items: Iterable[T], depth: int = _FRAMES_AHEAD) -> Generator[T]:
    """Take items from another thread, which works up to `depth` of them ahead."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    unwanted = threading.Event()

    def work() -> None:
        iterator = iter(items)
        failure: BaseException | None = None
        try:
            for item in iterator:
                if not _put(ready, (item, None), unwanted):
                    return
            failure = StopIteration()
        except BaseException as error:  # noqa: BLE001  (it is raised where the items are used)
            failure = error
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
            if failure is not None:
                _put(ready, (None, failure), unwanted)

    thread = threading.Thread(target=work, name="motrail-ahead", daemon=True)
    try:
        thread.start()
        while True:
            item, failure = ready.get()
            if isinstance(failure, StopIteration):
                return
            if failure is not None:
                raise failure
            yield item  # type: ignore[misc]
    finally:
        unwanted.set()
        if thread.ident is not None:  # an interrupt may have come before it was started
            thread.join()


def in_order(work: Callable[[T], R], items: Iterator[T], workers: int) -> Generator[tuple[T, R]]:
    """Apply `work` to items in several threads; the answers come in the order of the items."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="motrail-detect")
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > 2 * workers:
                first, answer = waiting.popleft()
                yield first, answer.result()
        while waiting:
            first, answer = waiting.popleft()
            yield first, answer.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if hasattr(items, "close"):
            items.close()


class Sinks:
    """Several sinks as a context manager: all results appear at a normal end, else none.

    First all are finished, which may fail; then they are committed, which is a mere renaming.
    """

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks: list[Sink] = []
        try:
            for sink in sinks:
                self._sinks.append(sink)
        except BaseException:
            self._discard(self._sinks)
            raise

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Hand the frame to each."""
        for sink in self._sinks:
            sink.write(frame, tracks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        done = 0
        try:
            if kind is None:
                for sink in self._sinks:
                    sink.finish()
                for sink in self._sinks:
                    sink.commit()
                    done += 1
        finally:
            self._discard(self._sinks[done:])

    @staticmethod
    def _discard(sinks: list[Sink]) -> None:
        for sink in sinks:
            sink.discard()


class Background:
    """A sink that works in a thread of its own, a few frames behind."""

    def __init__(self, sink: Sink, depth: int = _FRAMES_AHEAD) -> None:
        self._sink = sink
        self._queue: queue.Queue[tuple[Frame, Tracks] | None] = queue.Queue(depth)
        self._unwanted = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="motrail-sink", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._unwanted.is_set():
                try:
                    item = self._queue.get(timeout=_STOP_CHECK)
                except queue.Empty:
                    continue
                if item is None:
                    return
                self._sink.write(*item)
        except BaseException as error:  # noqa: BLE001  (it is raised where frames are written)
            self._failure = error
            self._unwanted.set()

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Hand on a frame; an error of an earlier one is raised here."""
        _put(self._queue, (frame, tracks), self._unwanted)
        self._raise()

    def finish(self) -> None:
        """Wait for the frames on their way, then finish the sink."""
        _put(self._queue, None, self._unwanted)
        self._thread.join()
        self._raise()
        self._sink.finish()

    def commit(self) -> None:
        """Let the result of the sink appear."""
        self._sink.commit()

    def discard(self) -> None:
        """Stop and leave nothing behind."""
        self._unwanted.set()
        self._thread.join()
        self._sink.discard()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


def _put(target: queue.Queue[T], item: T, unwanted: threading.Event) -> bool:
    """Put an item into a queue as soon as there is room; False when nobody wants it any more."""
    while not unwanted.is_set():
        try:
            target.put(item, timeout=_STOP_CHECK)
        except queue.Full:
            continue
        return True
    return False


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from using threads of its own while ours use all cores.

    Its threads wait busily between two calls, which costs more than they bring.
    """
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
