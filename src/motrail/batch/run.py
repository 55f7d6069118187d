"""`motrail batch` without its command line: an archive, from videos to tracks."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from motrail.batch.alongside import Association
from motrail.batch.find import KEPT
from motrail.batch.leftovers import Running
from motrail.batch.manifest import Manifest, Outcome
from motrail.batch.plan import Plan, Stretch, make_plan, note_unseekable, who_reads_whole
from motrail.batch.turns import Turns
from motrail.errors import ConfigError, MotrailError, OutputError
from motrail.formats.mot.tracks import check_labels
from motrail.moving import file_of
from motrail.outputs import output_folder
from motrail.workers import Failed

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from motrail.batch.detect import Detected, Load
    from motrail.batch.find import Video
    from motrail.config import Settings
    from motrail.workers import Pool

    Workers = Pool[Load, Stretch, Detected]

    Progress = Callable[[str, int, int | None], None]

_MOST_LOST = 100
"""So many processes lost one after another are no bad video."""


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
        number, _, of = text.partition("/")
        digits = number.isdecimal() and of.isdecimal() and len(of) < 10 and len(number) < 10
        if digits and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise ConfigError(f"--shard: expected I/N with I from 1 to N, as in 2/8, found {text!r}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class Options:
    """How to go about it.

    Attributes:
        workers: Processes that detect.
        chunk: Frames of the source in a stretch; None for an eighth of the video, 100 to 1000.
        shard: Detect in one share of the stretches only, and track nothing.
        only_associate: Track what is detected already, and detect nothing.
        video: Whether to draw videos.
        keep: Files that no result may take the place of.

    Raises:
        ConfigError: A value is out of range, or two exclude each other.
    """

    workers: int = 1
    chunk: int | None = None
    shard: Shard | None = None
    only_associate: bool = False
    video: bool = False
    keep: tuple[str | os.PathLike[str], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 1024:
            raise ConfigError(f"--workers: expected 1 to 1024, found {self.workers}")
        if self.chunk is not None and not 1 <= self.chunk <= 1_000_000:
            raise ConfigError(f"--chunk: expected 1 to 1,000,000 frames, found {self.chunk}")
        if self.shard is not None and self.only_associate:
            raise ConfigError("--shard detects and --associate tracks: give one of them at a time")


class Batch:
    """A run over an archive.

    Args:
        videos: What is in it; see `motrail.batch.find.find_videos`.
        load: Model and settings of the detector.
        class_names: Of the detector.
        settings: All settings.
        output: Folder of the results.
        options: How to go about it.

    Attributes:
        outcomes: What became of each video, in their order.

    Raises:
        ConfigError: The folder has results of other classes, or drawn videos would stand among the
            footage.
        OutputError: The folder cannot be written to.
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
        self._check_output()
        self._version = version("motrail")
        self._manifest = Manifest(self._output)
        self._before = self._manifest.read()
        self._plans: dict[str, Plan] = {}
        self._missing: dict[str, set[Stretch]] = {}
        self._lost: Counter[Stretch] = Counter()
        self._lost_in_a_row = 0
        self._done = self._total = 0
        self._under_way: dict[Stretch, int] = {}

    def _check_output(self) -> None:
        places = {(self._output / video.name).parent for video in self._videos}
        for place in places:
            check_labels(place, self._classes)
        footage = {video.path.parent.resolve() for video in self._videos}
        if self._options.video and footage & {place.resolve() for place in places}:
            raise ConfigError(
                f"{self._output}: with --video, drawn videos would stand among the footage and be "
                "taken for some the next time; choose another output folder"
            )

    def run(self, workers: Workers, progress: Progress) -> None:
        """Do it.

        A video that cannot be read or tracked is noted and does not stop the others. What is there
        already from an earlier run stays.

        Args:
            workers: Perhaps with some processes already; more are started as they are needed.
            progress: Told what is done, how much of it, and of how much.

        Raises:
            MotrailError: The model cannot be used, or results cannot be written at all.
        """
        with Running(self._output):
            for done, video in enumerate(self._in_turn()):
                progress("videos looked at", done, len(self._videos))
                self._look(video)
            try:
                self._work(workers, progress)
            finally:
                if self._options.shard is None:
                    self._manifest.write(self.outcomes)

    # --- what there is ------------------------------------------------------------------------

    def _in_turn(self) -> list[Video]:
        """The videos; each share begins elsewhere, so that they read what the others need, too."""
        shard = self._options.shard
        first = 0 if shard is None else len(self._videos) * (shard.number - 1) // shard.of
        return self._videos[first:] + self._videos[:first]

    def _kept(self, name: str) -> Path:
        return self._output / KEPT / name

    def _look(self, video: Video) -> None:
        outcome = self.outcomes[video.name]
        try:
            if video.fault is not None:
                raise MotrailError(video.fault)
            plan = make_plan(video, self._settings.video, self._kept(video.name),
                             self._options.chunk)  # fmt: skip
        except OutputError:
            raise  # the next will not fare better
        except (MotrailError, OSError) as error:
            outcome.state, outcome.reason = "failed", str(error)
            return
        outcome.stamp = self._stamp(plan)
        before = self._before.get(video.name)
        if before is not None and self._is_there(before, outcome.stamp):
            self.outcomes[video.name] = dataclasses.replace(
                before, path=str(video.path), kept=True, chunks_now=0
            )
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
        one = whole.stretches[0]
        if who_reads_whole(kept, one.fingerprint) is not None or one.is_detected(kept, made_by):
            plan = whole  # as it turned out the last time
        self._plans[name] = plan
        self._missing[name] = {s for s in plan.stretches if not s.is_detected(kept, made_by)}
        self._count(name)

    def _count(self, name: str) -> None:
        outcome = self.outcomes[name]
        outcome.chunks = len(self._plans[name].stretches)
        outcome.chunks_missing = len(self._missing[name])

    def _stamp(self, plan: Plan) -> str:
        settings = dataclasses.asdict(self._settings)
        chosen = {key: settings[key] for key in ("tracker", "refine", "video")}
        made_of: list[object] = [plan.stretches[0].fingerprint, self._load.made_by, chosen]
        camera = file_of(self._settings.tracker, plan.video.name)
        if camera is not None:
            with contextlib.suppress(OSError):  # what is wrong with it, the tracking says
                made_of.append(hashlib.sha256(camera.read_bytes()).hexdigest())
        parts = [self._version, made_of]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    # --- work -----------------------------------------------------------------------------------

    def _work(self, workers: Workers, progress: Progress) -> None:
        queue = self._queue()
        count = 0 if self._options.only_associate else min(self._options.workers, len(queue))
        workers.start(count)
        workers.set_up(self._load)
        with Association(
            self._plans, self._classes, self._settings, self._load, self._output, self._options,
            lambda: self._manifest.note(self.outcomes),
        ) as association:  # fmt: skip

            def ready(name: str) -> None:
                """All of a video is detected."""
                self.outcomes[name].state = "detected"
                if self._options.shard is None:
                    association.add(self.outcomes[name])

            for name, missing in self._missing.items():
                if not missing:
                    ready(name)
            if count:
                self._detect(workers, queue, ready, association.check, progress)
            self._tell_missing()
            association.finish(progress)

    def _queue(self) -> Turns:
        """What is to be detected here; who does what hangs on nothing that changes meanwhile."""
        return Turns(
            stretch
            for place, video in enumerate(self._videos)
            if video.name in self._plans
            for number, stretch in enumerate(self._plans[video.name].stretches)
            if stretch in self._missing[video.name] and self._is_ours(place, number, stretch)
        )

    def _is_ours(self, place: int, number: int, stretch: Stretch) -> bool:
        """Whether a stretch is of this share: of each video a part without gaps, of few each."""
        shard = self._options.shard
        if shard is None:
            return True
        if stretch.whole:
            who = who_reads_whole(self._kept(stretch.video.name), stretch.fingerprint) or ""
            if who.split("/")[1:] == [str(shard.of)]:
                return who == str(shard)
        part = number * shard.of // len(self._plans[stretch.video.name].stretches)
        return (place + part) % shard.of == shard.number - 1

    def _detect(
        self,
        workers: Workers,
        queue: Turns,
        ready: Callable[[str], None],
        check: Callable[[], None],
        progress: Progress,
    ) -> None:
        self._total = sum(self._frames_of(stretch) for stretch in queue)

        def show() -> None:
            done = self._done + sum(self._under_way.values())
            progress("frames detected", done, self._total)
            check()

        def heard(stretch: Stretch, frames: int) -> None:
            self._under_way[stretch] = frames
            show()

        progress("frames detected", 0, self._total)
        for stretch, answer in workers.run(queue.next, heard):
            self._under_way.pop(stretch, None)
            queue.done(stretch)
            self._hear(stretch, answer, queue, ready)
            show()

    def _is_wanted(self, stretch: Stretch) -> bool:
        name = stretch.video.name
        return stretch in self._missing[name] and self.outcomes[name].state == "waiting"

    def _hear(
        self,
        stretch: Stretch,
        answer: Detected | Failed,
        queue: Turns,
        ready: Callable[[str], None],
    ) -> None:
        """Take in what came of a stretch."""
        name = stretch.video.name
        lost = isinstance(answer, Failed) and answer.lost
        self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
        if isinstance(answer, Failed) and (
            answer.error == OutputError.__name__ or self._lost_in_a_row >= _MOST_LOST
        ):
            raise OutputError(answer.reason) if answer.error else MotrailError(answer.reason)
        if not self._is_wanted(stretch):  # the video failed elsewhere, or is read as a whole now
            self._done += self._frames_of(stretch)
        elif lost and not self._lost[stretch]:
            self._lost[stretch] += 1
            queue.add(stretch)
        elif isinstance(answer, Failed):
            self._done += self._frames_of(stretch)
            self.outcomes[name].state, self.outcomes[name].reason = "failed", answer.reason
            self._drop(name, queue)
        elif not answer.seekable:
            self._done += self._frames_of(stretch)
            self._begin_anew(name, queue)
        else:
            self._done += self._frames_of(stretch)
            self._missing[name].discard(stretch)
            self.outcomes[name].chunks_now += 1
            self._count(name)
            if not self._missing[name]:
                ready(name)

    def _frames_of(self, stretch: Stretch) -> int:
        if stretch.last is None:
            return self._plans[stretch.video.name].frames
        return (stretch.last - stretch.first) // stretch.stride + 1

    def _drop(self, name: str, queue: Turns) -> None:
        self._done += sum(self._frames_of(stretch) for stretch in queue.drop(name))

    def _begin_anew(self, name: str, queue: Turns) -> None:
        """Read a video from the beginning, for its frames cannot be found from the middle."""
        self._drop(name, queue)
        self._plans[name] = self._plans[name].as_one()
        one = self._plans[name].stretches[0]
        self._missing[name] = {one}
        self._count(name)
        us = "" if self._options.shard is None else str(self._options.shard)
        if note_unseekable(self._kept(name), one, us) == us:
            self._total += self._frames_of(one)
            queue.add(one)

    def _tell_missing(self) -> None:
        for name, missing in self._missing.items():
            outcome = self.outcomes[name]
            if missing and outcome.state == "waiting":
                first = min(missing, key=lambda stretch: stretch.first)
                outcome.reason = (
                    f"{len(missing)} of {outcome.chunks} chunks are not detected yet, the first "
                    f"from frame {first.first} on; run all shards, with the same settings and "
                    "--chunk, or leave --associate out"
                )
