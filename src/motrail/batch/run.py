"""`motrail batch` without its command line: an archive, from videos to tracks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from motrail.batch.associate import associate
from motrail.batch.detect import Detected, Load, make_worker
from motrail.batch.plan import KEPT, Plan, Stretch, Video, make_plan
from motrail.errors import ConfigError, MotrailError
from motrail.outputs import WholeFile, output_folder, writing
from motrail.workers import Failed, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motrail.config import Settings
    from motrail.tracking import Summary

    Progress = Callable[[str, int, int | None], None]

MANIFEST = "batch.json"
State = Literal["waiting", "detected", "done", "partly", "failed"]


class Shard(NamedTuple):
    """One share of the stretches of all videos.

    Attributes:
        number: Which, counted from 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `2/8`.

        Raises:
            ConfigError: It is something else.
        """
        number, slash, of = text.partition("/")
        if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise ConfigError(f"--shard: expected I/N with I from 1 to N, as in 2/8, found {text!r}")


@dataclass(frozen=True)
class Options:
    """How to go about it.

    Attributes:
        workers: Processes that detect.
        chunk: Frames of the source in a stretch; None for an eighth of the video, 100 to 1000.
        shard: Detect in one share of the stretches only, and track nothing.
        only_associate: Track what is detected already, and detect nothing.
        video: Whether to draw videos.

    Raises:
        ConfigError: A value is out of range, or two exclude each other.
    """

    workers: int = 1
    chunk: int | None = None
    shard: Shard | None = None
    only_associate: bool = False
    video: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 1024:
            raise ConfigError(f"--workers: expected 1 to 1024, found {self.workers}")
        if self.chunk is not None and not 1 <= self.chunk <= 1_000_000:
            raise ConfigError(f"--chunk: expected 1 to 1,000,000 frames, found {self.chunk}")
        if self.shard is not None and self.only_associate:
            raise ConfigError("--shard detects and --associate tracks: give one of them at a time")


@dataclass
class Outcome:
    """What became of a video.

    Attributes:
        name: Of its results.
        path: Where it is.
        state: `done`; `partly`, if the file ends early; `failed`; `detected`, if its tracks are
            still to come; `waiting`, if detections are still missing.
        reason: Why it is not done.
        frames: Looked at.
        tracks: Given out.
        boxes: Of all tracks.
        kept: Whether the result was there already.
        stamp: What the result hangs on.
        files: What was written.
    """

    name: str
    path: str
    state: State = "waiting"
    reason: str | None = None
    frames: int = 0
    tracks: int = 0
    boxes: int = 0
    kept: bool = False
    stamp: str = ""
    files: dict[str, str] = field(default_factory=dict)


class Batch:
    """A run over an archive.

    Args:
        videos: What is in it; see `motrail.batch.plan.find_videos`.
        load: Model and settings of the detector.
        class_names: Of the detector.
        settings: All settings.
        output: Folder of the results.
        options: How to go about it.

    Attributes:
        outcomes: What became of each video, in their order.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        load: Load,
        class_names: Sequence[str],
        settings: Settings,
        output: Path,
        options: Options,
    ) -> None:
        self.outcomes = {video.name: Outcome(video.name, str(video.path)) for video in videos}
        self._videos = list(videos)
        self._load, self._classes, self._settings = load, class_names, settings
        self._output, self._options = output_folder(output), options
        self._before = _read_manifest(self._output / MANIFEST)
        self._plans: dict[str, Plan] = {}
        self._missing: dict[str, set[Stretch]] = {}
        self._done = self._total = 0
        self._under_way: dict[Stretch, int] = {}
        self._stop = threading.Event()

    def run(self, progress: Progress) -> None:
        """Do it.

        A video that cannot be read or tracked is noted and does not stop the others. What is there
        already from an earlier run stays.

        Raises:
            MotrailError: The model cannot be used, or results cannot be written at all.
        """
        for done, video in enumerate(self._videos):
            progress("looking at the videos", done, len(self._videos))
            self._look(video)
        executor = ThreadPoolExecutor(1, thread_name_prefix="motrail-associate")
        try:
            self._work(executor, progress)
        finally:
            self._stop.set()
            executor.shutdown(wait=True, cancel_futures=True)
        if self._options.shard is None:
            self._write_manifest()

    # --- what there is ------------------------------------------------------------------------

    def _kept(self, name: str) -> Path:
        return self._output / KEPT / name

    def _look(self, video: Video) -> None:
        outcome = self.outcomes[video.name]
        try:
            plan = make_plan(video, self._settings.video, self._kept(video.name),
                             self._options.chunk)  # fmt: skip
        except (MotrailError, OSError) as error:
            outcome.state, outcome.reason = "failed", str(error)
            return
        outcome.stamp = self._stamp(plan)
        before = self._before.get(video.name)
        if before is not None and self._is_there(before, outcome.stamp):
            self.outcomes[video.name] = dataclasses.replace(before, kept=True)
            return
        self._take(plan)

    def _is_there(self, before: Outcome, stamp: str) -> bool:
        there = all((self._output / name).is_file() for name in before.files.values())
        drawn = "video" in before.files or not self._options.video
        return before.state in ("done", "partly") and before.stamp == stamp and there and drawn

    def _take(self, plan: Plan) -> None:
        """Note which stretches are still to be detected."""
        name = plan.video.name
        kept, made_by = self._kept(name), self._load.made_by
        whole = plan.as_one()
        if whole.stretches[0].is_detected(kept, made_by):
            plan = whole  # as it turned out the last time
        missing = {part for part in plan.stretches if not part.is_detected(kept, made_by)}
        self._plans[name], self._missing[name] = plan, missing
        self._total += plan.frames

    def _stamp(self, plan: Plan) -> str:
        settings = dataclasses.asdict(self._settings)
        chosen = {key: settings[key] for key in ("tracker", "refine", "video")}
        parts = [plan.stretches[0].fingerprint, self._load.made_by, chosen]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    # --- work -----------------------------------------------------------------------------------

    def _work(self, executor: ThreadPoolExecutor, progress: Progress) -> None:
        following: list[tuple[str, Future[None]]] = []

        def ready(name: str) -> None:
            """All of a video is detected."""
            self.outcomes[name].state = "detected"
            if self._options.shard is None:
                following.append((name, executor.submit(self._associate, name)))

        queue = self._queue()
        for name, missing in self._missing.items():
            if not missing:
                ready(name)
        if queue and not self._options.only_associate:
            self._detect(queue, ready, progress)
        self._tell_missing()
        for done, (name, future) in enumerate(following):
            while True:
                progress(f"tracking {name}", done, len(following))
                try:
                    future.result(timeout=0.2)
                except TimeoutError:
                    continue
                break

    def _queue(self) -> deque[Stretch]:
        stretches = [
            (number, stretch)
            for number, stretch in enumerate(
                part for plan in self._plans.values() for part in plan.stretches
            )
            if stretch in self._missing[stretch.video.name]
        ]
        shard = self._options.shard
        return deque(
            stretch
            for number, stretch in stretches
            if shard is None or number % shard.of == shard.number - 1
        )

    def _detect(
        self, queue: deque[Stretch], ready: Callable[[str], None], progress: Progress
    ) -> None:
        self._total = sum(self._frames_of(stretch) for stretch in queue)

        def following() -> Stretch | None:
            return queue.popleft() if queue else None

        def heard(stretch: Stretch, frames: int) -> None:
            self._under_way[stretch] = frames
            progress("detecting", self._done + sum(self._under_way.values()), self._total)

        count = min(self._options.workers, max(len(queue), 1))
        with Pool[Stretch, Detected](make_worker, self._load, count) as pool:
            for stretch, answer in pool.run(following, heard):
                self._under_way.pop(stretch, None)
                self._done += self._frames_of(stretch)
                name = stretch.video.name
                if isinstance(answer, Failed):
                    self._fail(name, answer.reason, queue)
                elif not answer.seekable:
                    self._begin_anew(name, queue)
                else:
                    self._missing[name].discard(stretch)
                    if not self._missing[name] and self.outcomes[name].state == "waiting":
                        ready(name)
                progress("detecting", self._done + sum(self._under_way.values()), self._total)

    def _frames_of(self, stretch: Stretch) -> int:
        if stretch.last is None:
            return self._plans[stretch.video.name].frames
        return (stretch.last - stretch.first) // stretch.stride + 1

    def _begin_anew(self, name: str, queue: deque[Stretch]) -> None:
        """Read a video from the beginning, for its frames cannot be found from the middle."""
        plan = self._plans[name]
        if plan.stretches[0].whole:
            return  # that was noticed by two workers
        _drop(queue, name)
        self._plans[name] = plan.as_one()
        one = self._plans[name].stretches[0]
        self._missing[name] = {one}
        self._total += self._frames_of(one)
        queue.append(one)

    def _fail(self, name: str, reason: str, queue: deque[Stretch]) -> None:
        outcome = self.outcomes[name]
        if outcome.state != "failed":
            outcome.state, outcome.reason = "failed", reason
        _drop(queue, name)

    def _tell_missing(self) -> None:
        for name, missing in self._missing.items():
            outcome = self.outcomes[name]
            if missing and outcome.state == "waiting":
                first = min(missing, key=lambda stretch: stretch.first)
                outcome.reason = (
                    f"{len(missing)} of {len(self._plans[name].stretches)} chunks are not detected "
                    f"yet, the first from frame {first.first} on"
                )

    def _associate(self, name: str) -> None:
        """Track a video that is detected; in a thread of its own."""
        outcome, plan = self.outcomes[name], self._plans[name]

        def check(_summary: Summary) -> None:
            if self._stop.is_set():
                raise MotrailError("interrupted")

        try:
            summary = associate(
                plan,
                self._classes,
                self._settings,
                self._load.made_by,
                self._output,
                kept=self._kept(name),
                video=self._options.video,
                progress=check,
            )
        except MotrailError as error:
            if not self._stop.is_set():
                outcome.state, outcome.reason = "failed", str(error)
            return
        outcome.frames, outcome.tracks = summary.frames, summary.tracks
        outcome.boxes, outcome.reason = summary.boxes, summary.truncated
        outcome.files = {
            kind: Path(path).relative_to(self._output).as_posix()
            for kind, path in summary.files.items()
        }
        outcome.state = "done" if summary.truncated is None else "partly"
        self._write_manifest()

    def _write_manifest(self) -> None:
        path = self._output / MANIFEST
        rows = [dataclasses.asdict(row) for row in (self._before | self.outcomes).values()]
        for row in rows:
            del row["kept"]
        with writing(path), WholeFile(path) as file:
            text = json.dumps({"videos": rows}, indent=1, ensure_ascii=False)
            file.temporary.write_bytes((text + "\n").encode(errors="backslashreplace"))


def _drop(queue: deque[Stretch], name: str) -> None:
    """Take the stretches of a video out of the queue."""
    left = [stretch for stretch in queue if stretch.video.name != name]
    queue.clear()
    queue.extend(left)


def _read_manifest(path: Path) -> dict[str, Outcome]:
    """What was done before; nothing where that is not known, and then it is looked for."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["videos"]
        return {row["name"]: Outcome(**row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
