"""What a synthetic clip is asked to show."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from motrail.errors import ConfigError

SCENES = ("football", "traffic", "conveyor")
DIFFICULTIES = ("easy", "normal", "hard")

_OBJECTS = {
    "football": (9, 16, 23),
    "traffic": (14, 24, 36),
    "conveyor": (11, 17, 26),
}
"""Objects of the scene by difficulty; not all are in the picture at a time."""
_MAX_OBJECTS = {"football": 60, "traffic": 60, "conveyor": 40}
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSettings:
    """A clip: the same settings give the same pictures and the same truth.

    The number of frames changes nothing but where the clip ends. What is None is chosen by
    `difficulty`, see `resolved`.

    Attributes:
        scene: `football`, `traffic` or `conveyor`.
        seed: 0 or more; other seeds are other places, teams, colours and movements.
        width: Of the pictures in pixels, 64 to 4096.
        height: Of the pictures in pixels, 64 to 4096.
        frames: Length of the clip, at least 1.
        frame_rate: Frames a second, 1 to 240.
        difficulty: `easy`, `normal` or `hard`: how many objects there are, how close together, how
            much they look alike, and the options below.
        objects: People on the pitch, vehicles and pedestrians, or parcels on the belt, the
            ones outside the picture included; 2 or more.
        ball: Football only: there is a ball, drawn and labelled as a class of its own.
        shadows: Objects cast shadows on the ground. They never count as part of the object.
        motion_blur: What moves is blurred along its path.
        low_light: Dark, noisy and pale.
        camera_shake: The camera trembles; the homography follows.
        camera_pan: The camera turns slowly to and fro; the homography follows.
        occluders: Things that stand in front: flags, posts, trees, an arm across the belt.

    Raises:
        ConfigError: A value is unknown or out of range.
    """

    scene: str = "football"
    seed: int = 0
    width: int = 640
    height: int = 360
    frames: int = 100
    frame_rate: float = 25.0
    difficulty: str = "normal"
    objects: int | None = None
    ball: bool = False
    shadows: bool | None = None
    motion_blur: bool | None = None
    low_light: bool | None = None
    camera_shake: bool | None = None
    camera_pan: bool | None = None
    occluders: bool | None = None

    def __post_init__(self) -> None:
        _check_choice("scene", self.scene, SCENES)
        _check_choice("difficulty", self.difficulty, DIFFICULTIES)
        _check_whole("seed", self.seed, 0, _MAX_SEED)
        _check_whole("width", self.width, 64, 4096)
        _check_whole("height", self.height, 64, 4096)
        _check_whole("frames", self.frames, 1, 10_000_000)
        if self.objects is not None:
            _check_whole("objects", self.objects, 2, _MAX_OBJECTS[self.scene])
        if not (math.isfinite(self.frame_rate) and 1 <= self.frame_rate <= 240):
            raise ConfigError(f"frame_rate: expected 1 to 240, found {self.frame_rate}")
        if self.ball and self.scene != "football":
            raise ConfigError(f"ball: expected only with scene football, found {self.scene}")

    @property
    def level(self) -> int:
        """0 for easy, 1 for normal, 2 for hard."""
        return DIFFICULTIES.index(self.difficulty)

    @property
    def object_count(self) -> int:
        """`objects`, or what the difficulty puts there."""
        return _OBJECTS[self.scene][self.level] if self.objects is None else self.objects

    def resolved(self) -> SceneSettings:
        """The same clip with every None replaced by what the difficulty chooses.

        All have shadows; normal adds motion blur and occluders; hard adds shake and a pan. Low
        light is never chosen.
        """
        chosen: dict[str, bool | int] = {
            "objects": self.object_count,
            "shadows": True,
            "motion_blur": self.level >= 1,
            "occluders": self.level >= 1,
            "camera_shake": self.level == 2,
            "camera_pan": self.level == 2,
            "low_light": False,
        }
        changes = {name: value for name, value in chosen.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def _check_choice(name: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise ConfigError(f"{name}: expected one of {', '.join(known)}, found {found!r}")


def _check_whole(name: str, found: object, low: int, high: int) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise ConfigError(f"{name}: expected a whole number from {low} to {high}, found {found!r}")
