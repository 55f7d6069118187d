"""Write synthetic footage as a dataset folder, with its truth."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING

from motrail.dataset.convert import Summary
from motrail.dataset.folder import DatasetWriter
from motrail.dataset.footage import place, silent, write_frames
from motrail.dataset.scenes import TruthCollector, make_scene
from motrail.outputs import WholeFolder, writing
from motrail.track.camera_file import write_camera_file
from motrail.types import Frame
from motrail.video.source import Selection, Source

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.dataset.scenes import Scene, SceneSettings
    from motrail.video.write import VideoWriter


def write_scenes(
    clips: Iterable[tuple[str, str, SceneSettings]],
    output: Path,
    *,
    videos: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Make a dataset of synthetic clips; it appears whole or not at all.

    Beside the usual stands `<split>/<name>/world.json`: where each object is in metres and the
    camera's homography, for every frame; and for all clips together `camera/<name>.txt`: how the
    picture moved from frame to frame, see `motrail.track.camera_file`; and, where it did not,
    `calibration/<name>.toml`: points of the ground, see `motrail.analyze.calibration`.

    Args:
        clips: Split (`all`, `train`, `val` or `test`), name and settings of each clip.
        output: The folder to make; empty or not there yet.
        videos: Whether to write `videos/<name>.mp4` as well.
        progress: Told of each frame.

    Raises:
        ConfigError: Settings make no sense.
        OutputError: The folder holds something already, or cannot be written.
    """
    summary = Summary(str(output), formats=["synthetic"])
    with WholeFolder(output) as whole, DatasetWriter(whole.temporary) as writer:
        folder = whole.temporary
        for split, name, settings in clips:
            with _Filming(name, make_scene(settings), folder if videos else None) as filming:
                pictures = write_frames(filming, folder / ".work", progress=progress)
            labels = filming.truth.labels().replace(pictures=pictures)
            place(writer.add(labels, split))
            path = folder / split / name / "world.json"
            with writing(path):
                path.write_text(json.dumps(filming.truth.world()), encoding="utf-8")
                (folder / "camera").mkdir(exist_ok=True)
                shutil.rmtree(folder / ".work")
            write_camera_file(folder / "camera" / f"{name}.txt", filming.truth.camera())
            _write_calibration(folder / "calibration" / f"{name}.toml", filming.truth.calibration())
            summary.count(labels)
        writer.finish()
        summary.classes = list(writer.classes.names)
    return summary


def _write_calibration(path: Path, points: str) -> None:
    if points:
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            path.write_text(points, encoding="utf-8")


class _Filming(Source):
    """A scene as a source of frames; the truth is collected as they are taken."""

    def __init__(self, name: str, scene: Scene, video_folder: Path | None) -> None:
        super().__init__()
        settings = scene.settings
        self.name = name
        self.selection = Selection()
        self.width, self.height = settings.width, settings.height
        self.frame_rate = settings.frame_rate
        self.expected_frames = settings.frames
        self.truth = TruthCollector(scene, name)
        self._scene = scene
        self._video_folder = video_folder

    @property
    def files(self) -> list[Path]:
        """None: it is made up."""
        return []

    def reads(self, path: Path) -> bool:  # noqa: ARG002
        """It comes from no file."""
        return False

    def _frames(self) -> Generator[Frame]:
        with contextlib.ExitStack() as stack:
            video = self._open_video(stack)
            for frame in self._scene.frames():
                self.truth.add(frame)
                time = (frame.number - 1) / self.frame_rate
                if video is not None:
                    video.write(frame.image, time)
                yield Frame(frame.number, frame.image, time)

    def _open_video(self, stack: contextlib.ExitStack) -> VideoWriter | None:
        if self._video_folder is None:
            return None
        from motrail.video.write import VideoWriter

        folder = self._video_folder / "videos"
        with writing(folder):
            folder.mkdir(exist_ok=True)
        writer = VideoWriter(
            folder / f"{self.name}.mp4",
            width=self.width,
            height=self.height,
            frame_rate=self.frame_rate,
            crf=18,
        )
        return stack.enter_context(writer)
