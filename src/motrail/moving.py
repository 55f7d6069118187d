"""How the camera moved, for whoever runs a tracker that does not find it in the boxes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from motrail.errors import ConfigError
from motrail.track.camera_file import camera_file_path, read_camera_file
from motrail.track.motion import Motion

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.config import TrackerSettings
    from motrail.track.camera_file import CameraFile
    from motrail.types import Detections, Frame
    from motrail.video.flow import Small


class Camera(Protocol):
    """Says how the camera of one video moved, and is asked frame after frame in their order."""

    def motion(self, frame: Frame, detections: Detections) -> Motion | None:
        """Since the last frame that was asked for; None where nothing is known."""


class FramesCamera:
    """Finds it in the pictures; see `motrail.video.flow`."""

    def __init__(self) -> None:
        from motrail.video.flow import Flow

        self._flow = Flow()

    def motion(self, frame: Frame, detections: Detections) -> Motion | None:
        """See `Camera`.

        Raises:
            ConfigError: The frame has no picture.
        """
        from motrail.video.flow import shrink

        if not frame.image.size:
            raise without_pictures("frames that come without")
        return self.motion_of(shrink(frame.image), detections)

    def motion_of(self, picture: Small, detections: Detections) -> Motion | None:
        """The same for a picture that is small already."""
        affine = self._flow.affine(picture, detections)
        return None if affine is None else Motion(affine[:, :2], affine[:, 2])


class FileCamera:
    """Looks it up in a file."""

    def __init__(self, file: CameraFile) -> None:
        self._file = file
        self._last: int | None = None

    def motion(self, frame: Frame, detections: Detections) -> Motion | None:  # noqa: ARG002
        """See `Camera`.

        Raises:
            DataError: The file does not have the frame.
        """
        return self.motion_at(frame.number)

    def motion_at(self, number: int) -> Motion | None:
        """The same for the number of a frame."""
        before = number - 1 if self._last is None else self._last
        self._last = number
        return self._file.between(before, number)


def open_camera(settings: TrackerSettings, name: str) -> Camera | None:
    """What says how the camera of a video moved; None where the tracker needs nobody.

    Args:
        settings: Of the tracker.
        name: Of the video, for which a folder of files has `NAME.txt`.

    Raises:
        FormatError: The file is missing, or is none.
        MissingExtraError: Pictures are to be looked at, and OpenCV is not installed.
    """
    path = file_of(settings, name)
    if path is not None:
        return FileCamera(read_camera_file(path))
    if needs_pictures(settings):
        return FramesCamera()
    return None


def open_file_camera(settings: TrackerSettings, name: str, length: int) -> FileCamera | None:
    """The same where there are detections alone.

    Args:
        settings: Of the tracker.
        name: Of the sequence.
        length: Its number of frames.

    Raises:
        ConfigError: The settings ask for pictures.
        FormatError: The file is missing, is none, or is of a longer sequence.
    """
    if needs_pictures(settings):
        raise without_pictures("detections alone")
    path = file_of(settings, name)
    if path is None:
        return None
    file = read_camera_file(path)
    if file.last > length:
        raise ConfigError(
            f"{path}: expected lines for frames 0 to {length - 1} of {name!r}, found frame "
            f"{file.last - 1}; is it of another video, or of more than this part of it?"
        )
    return FileCamera(file)


def needs_pictures(settings: TrackerSettings) -> bool:
    """Whether the tracker needs the pictures beside what was detected in them."""
    return settings.tracker == "steady" and settings.camera_motion == "frames"


def file_of(settings: TrackerSettings, name: str) -> Path | None:
    """The file that the tracker takes the camera's motion of a video from; None if it does not."""
    if settings.tracker != "steady" or settings.camera_file is None:
        return None
    return camera_file_path(settings.camera_file, name)


def without_pictures(found: str) -> ConfigError:
    """What to do where there are no pictures."""
    return ConfigError(
        f"camera_motion: 'frames' needs the pictures, found {found}; write what they say with "
        "`motrail camera VIDEO -o FOLDER`, and use --camera-motion file --camera-file FOLDER"
    )
