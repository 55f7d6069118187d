"""The few threads that decode pictures and run the network, and the queue in front of them."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from motrail.detect.failure import AnswerError
from motrail.errors import DataError, ModelError
from motrail.pipeline import Detector
from motrail.serve.problems import Problem, busy
from motrail.types import Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

T = TypeVar("T")

_FRAMES_IN_A_ROW = 3
"""So many frames of people who wait go before one of a video, where both wait."""
_LONGEST_ADVICE = 60  # seconds


class Network(Detector, Protocol):
    """A detector that says what it knows; that of `motrail.detect.detector` is one."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes; the index is the class id."""

    @property
    def device(self) -> str:
        """What it runs on, for people."""


class Engine:
    """Work that costs cores, done in as many threads as the network makes good use of.

    Frames that somebody waits for go before those of videos, which get a share all the same.
    Micro-batches would be formed here, where several frames wait at once.

    Args:
        detector: The network.
        queue: Frames that may wait before new ones are refused.
        name: What clients know the network by.
    """

    def __init__(self, detector: Network, *, queue: int, name: str = "") -> None:
        self.detector = detector
        self._name = name
        self._limit = queue
        self._frames: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._videos: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._in_a_row = 0
        self._ready = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self._seconds = 0.05  # that a frame takes, about

    @property
    def waiting(self) -> int:
        """Frames of requests that wait for a thread."""
        return len(self._frames)

    def detect(self, image: NDArray[np.uint8], size: tuple[int, int] | None = None) -> Detections:
        """As `Detector.detect`, in the thread that calls.

        Args:
            image: As there.
            size: Width and height of the picture that the boxes are to be those of, where the image
                is a scaled one.

        Raises:
            Problem: 500; the network failed, or answered with nonsense.
        """
        try:
            found = self.detector.detect(image)
            height, width = image.shape[:2]
            if size is None or size == (width, height):
                return found
            factor = np.array([size[0] / width, size[1] / height] * 2, np.float32)
            with np.errstate(over="ignore"):  # caught as not finite
                boxes = found.boxes_xyxy * factor
            return Detections(boxes, found.scores, found.class_ids)
        except (ModelError, DataError) as error:
            reason = "it failed; the server's log says more under this request_id"
            if isinstance(error, AnswerError):
                reason = error.reason
            raise Problem(500, "bad_model", f"model {self._name!r}: {reason}") from error

    def check(self) -> None:
        """See that there is room for a frame.

        Raises:
            Problem: 503; the queue is full.
        """
        if len(self._frames) >= self._limit:
            seconds = len(self._frames) * self._seconds / self.detector.workers
            raise busy(min(max(1, math.ceil(seconds)), _LONGEST_ADVICE))

    def submit(self, work: Callable[[], T], *, video: bool = False) -> Future[T]:
        """Have a frame worked on; cancel what comes back to give it up while it waits."""
        answer: Future[T] = Future()
        with self._ready:
            if self._stopped:
                raise busy()
            if not self._threads:
                self._start()
            (self._videos if video else self._frames).append((answer, work))
            self._ready.notify()
        return answer

    def stop(self) -> None:
        """Give up what waits, and end the threads."""
        with self._ready:
            self._stopped = True
            for answer, _ in (*self._frames, *self._videos):
                answer.cancel()
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        for number in range(self.detector.workers):
            thread = threading.Thread(
                target=self._work, name=f"motrail-engine-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            answer, work = item
            if not answer.set_running_or_notify_cancel():
                continue
            start = time.perf_counter()
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  (it is raised where the answer is used)
                answer.set_exception(error)
            else:
                answer.set_result(result)
                self._seconds += 0.1 * (time.perf_counter() - start - self._seconds)
            del item, answer, work  # a picture must not live until the next one comes

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._ready:
            while not (self._frames or self._videos):
                if self._stopped:
                    return None
                self._ready.wait()
            if self._frames and not (self._videos and self._in_a_row >= _FRAMES_IN_A_ROW):
                self._in_a_row += 1
                return self._frames.popleft()
            self._in_a_row = 0
            return self._videos.popleft()


class VideoDetector:
    """The detector as videos see it: behind the frames that somebody waits for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.workers = engine.detector.workers
        self.class_names = engine.detector.class_names
        self.device = engine.detector.device

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """As `Detector.detect`."""
        return self._engine.submit(lambda: self._engine.detect(image), video=True).result()
