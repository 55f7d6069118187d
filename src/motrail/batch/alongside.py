"""Videos that are detected are tracked while others are still being detected in."""

from __future__ import annotations

import importlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Self

from motrail.batch.associate import associate
from motrail.batch.find import KEPT
from motrail.errors import MotrailError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from motrail.batch.detect import Load
    from motrail.batch.manifest import Outcome
    from motrail.batch.plan import Plan
    from motrail.batch.run import Options
    from motrail.config import Settings
    from motrail.tracking import Summary

_LOOK_UP = 0.2  # seconds


class Association:
    """A thread that tracks videos, one after another.

    Args:
        plans: Of the videos, by name.
        class_names: Of the detector.
        settings: Of tracker, refinement and video.
        load: What the detections were made by, and where they are.
        output: Folder of the results.
        options: Whether to draw, and what to keep.
        done: Called after every video, in that thread.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        class_names: Sequence[str],
        settings: Settings,
        load: Load,
        output: Path,
        options: Options,
        done: Callable[[], None],
    ) -> None:
        self._plans, self._classes, self._settings = plans, class_names, settings
        self._load, self._output, self._options = load, output, options
        self._done = done
        self._stop = threading.Event()
        self._under_way: list[Future[None]] = []
        self._frames = self._total = self._checked = 0
        self._prepared = False

    def __enter__(self) -> Self:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="motrail-associate")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def add(self, outcome: Outcome) -> None:
        """Track a video as soon as those before it are tracked."""
        self._prepare()
        self._total += self._plans[outcome.name].frames
        self._under_way.append(self._executor.submit(self._track, outcome))

    def check(self) -> None:
        """Raise what went wrong in the thread, apart from what is wrong with a video."""
        self._prepare()
        while self._checked < len(self._under_way) and self._under_way[self._checked].done():
            self._under_way[self._checked].result()
            self._checked += 1

    def _prepare(self) -> None:
        """Import what the thread needs, not before workers have something to do."""
        if not self._prepared:
            _load_libraries(video=self._options.video)
            self._prepared = True

    def finish(self, progress: Callable[[str, int, int | None], None]) -> None:
        """Wait for all."""
        while True:
            self.check()
            if self._checked == len(self._under_way):
                return
            progress("frames tracked", min(self._frames, self._total), self._total)
            wait([self._under_way[self._checked]], _LOOK_UP)

    def _track(self, outcome: Outcome) -> None:
        def check(_summary: Summary) -> None:
            self._frames += 1
            if self._stop.is_set():
                raise MotrailError("interrupted")

        try:
            summary = associate(
                self._plans[outcome.name],
                self._classes,
                self._settings,
                self._load.made_by,
                self._output,
                kept=self._output / KEPT / outcome.name,
                video=self._options.video,
                keep=self._options.keep,
                progress=check,
            )
        except (MotrailError, OSError) as error:
            if not self._stop.is_set():
                outcome.state, outcome.reason = "failed", str(error)
            return
        self._note(outcome, summary)
        self._done()

    def _note(self, outcome: Outcome, summary: Summary) -> None:
        outcome.frames, outcome.tracks = summary.frames, summary.tracks
        outcome.boxes, outcome.broken_frames = summary.boxes, summary.broken_frames
        outcome.reason = summary.truncated
        outcome.files = {
            kind: Path(path).relative_to(self._output).as_posix()
            for kind, path in summary.files.items()
        }
        outcome.state = "done" if summary.truncated is None else "partly"


def _load_libraries(*, video: bool) -> None:
    """Import here what the thread needs: only the main thread is to be interrupted in an import."""
    importlib.import_module("motrail.track.make")
    if video:
        from motrail.video.draw import TrackDrawer

        importlib.import_module("motrail.video.write")
        TrackDrawer([""], width=16, height=16, frame_rate=25)  # which loads what it needs
