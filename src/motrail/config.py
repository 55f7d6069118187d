"""Settings and where they come from.

Flags win over environment variables, those over the `--config` file, that over the model bundle,
that over the defaults here. An unknown key is an error that names the nearest known one.

In a TOML file the sections are `[detector]`, `[tracker]`, `[refine]` and `[video]`; in the
environment the same keys are `MOTRAIL_<SECTION>_<KEY>`, lists separated by commas.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_type_hints

from motrail.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import TypeAdapter

Preset = Literal["bytetrack", "yolox", "yolox-legacy"]
ClassMode = Literal["separate", "vote", "ignore"]
EncoderPreset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"
]

# Variables that are no settings.
OTHER_VARIABLES = {
    "MOTRAIL_CACHE": "folder that downloaded models are kept in",
    "MOTRAIL_ZOO_URL": "address to fetch models of the zoo from, in place of the official one",
    "MOTRAIL_TEST_DATA": "folder of the footage that the project's own tests use",
}


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        limits = f"from {low} to {high}" if high < math.inf else f"{low} or more"
        raise ConfigError(f"{name}: expected {limits}, found {value}")


def _setting(default: Any, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True)
class DetectorSettings:
    """`[detector]`: from pictures to boxes."""

    preset: Preset | None = _setting(
        None, "How a bare .onnx wants its input: bytetrack, yolox or yolox-legacy."
    )
    labels: str | None = _setting(
        None, "File with the names of the classes of a bare .onnx, one a line."
    )
    device: str = _setting("auto", "auto, cpu, cuda, cuda:N, tensorrt or openvino.")
    workers: int | None = _setting(
        None, "Frames that go through the network at the same time; chosen by the machine if unset."
    )
    score_threshold: float = _setting(
        0.1, "Detections below this score are dropped. Keep it low: the tracker uses weak ones."
    )
    nms_threshold: float = _setting(
        0.7, "Of two boxes of a class that overlap more than this IoU, the better one stays."
    )
    classes: tuple[str, ...] | None = _setting(
        None, "Names of the classes to follow, separated by commas; all if unset."
    )

    def __post_init__(self) -> None:
        _within("score_threshold", self.score_threshold, 0, 1)
        _within("nms_threshold", self.nms_threshold, 0, 1)
        _within("workers", self.workers, 1, 1024)
        if self.classes is not None and not self.classes:
            raise ConfigError("classes: expected at least one name")


@dataclass(frozen=True)
class TrackerSettings:
    """`[tracker]`: from boxes to identities. See `motrail.ByteTracker`."""

    high_threshold: float = _setting(
        0.6, "Score from which a detection is matched first and may begin a track."
    )
    low_threshold: float = _setting(0.1, "Score above which a weak detection may continue a track.")
    new_track_threshold: float = _setting(0.7, "Score from which a detection begins a track.")
    match_threshold: float = _setting(
        0.8, "Largest cost of a match, 1 − IoU · score. Raise it for fast objects."
    )
    second_match_threshold: float = _setting(
        0.5, "Largest cost of a match with a weak detection, 1 − IoU."
    )
    unconfirmed_match_threshold: float = _setting(
        0.7, "Largest cost of the second match of a new track."
    )
    lost_frames: int = _setting(
        30, "Missed frames of the source after which a track can still be found again."
    )
    lost_seconds: float | None = _setting(None, "The same in seconds; wins over lost_frames.")
    frame_rate: float | None = _setting(
        None, "Frames a second for lost_seconds; that of the video if unset."
    )
    score_fusion: bool = _setting(True, "Whether the score counts in the cost of a match.")
    class_mode: ClassMode = _setting(
        "separate", "separate: classes never mix; vote: the most frequent wins; ignore."
    )
    min_box_area: float = _setting(0.0, "Smaller boxes (square pixels) are not given out.")
    max_aspect_ratio: float | None = _setting(
        None, "Boxes with a larger width / height are not given out."
    )

    def __post_init__(self) -> None:
        _within("high_threshold", self.high_threshold, 0, 1)
        _within("low_threshold", self.low_threshold, 0, 1)
        if self.low_threshold > self.high_threshold:
            raise ConfigError(
                f"low_threshold: expected at most high_threshold ({self.high_threshold}), "
                f"found {self.low_threshold}"
            )
        _within("new_track_threshold", self.new_track_threshold, 0, math.inf)
        _within("match_threshold", self.match_threshold, 0, 1)
        _within("second_match_threshold", self.second_match_threshold, 0, 1)
        _within("unconfirmed_match_threshold", self.unconfirmed_match_threshold, 0, 1)
        _within("lost_frames", self.lost_frames, 0, math.inf)
        _within("lost_seconds", self.lost_seconds, 0, 1e9)
        _within("frame_rate", self.frame_rate, 1e-6, 1e6)
        _within("min_box_area", self.min_box_area, 0, math.inf)
        _within("max_aspect_ratio", self.max_aspect_ratio, 0, math.inf)
        if self.class_mode not in get_args(ClassMode):
            raise ConfigError(
                f"class_mode: expected 'separate', 'vote' or 'ignore', found {self.class_mode!r}"
            )


@dataclass(frozen=True)
class RefineSettings:
    """`[refine]`: what is done to tracks when all frames are known. See `motrail.track.refine`.

    All off by default, and then tracks stay as the tracker gave them out.
    """

    max_gap: int = _setting(
        0,
        "Gaps of up to so many missed frames of the source are filled by straight lines; 0: none.",
    )
    smoothing: float = _setting(
        0.0,
        "Standard deviation, in frames of the source, of the Gaussian that boxes are smoothed "
        "with along each track; 0: not at all.",
    )
    min_length: int = _setting(0, "Tracks seen in fewer frames than this are left out; 0: none.")

    def __post_init__(self) -> None:
        _within("max_gap", self.max_gap, 0, 10_000)
        _within("smoothing", self.smoothing, 0, 100)
        _within("min_length", self.min_length, 0, math.inf)

    @property
    def active(self) -> bool:
        """Whether anything is switched on."""
        return bool(self.max_gap or self.smoothing or self.min_length)


@dataclass(frozen=True)
class VideoSettings:
    """`[video]`: which frames are read, and how the result is drawn and written."""

    start: int = _setting(1, "First frame, counted from 1.")
    end: int | None = _setting(None, "Last frame; the end of the video if unset.")
    stride: int = _setting(1, "Look at every n-th frame only.")
    crf: int = _setting(23, "Quality of the video written: 18 is fine, 28 is coarse and small.")
    encoder_preset: EncoderPreset = _setting(
        "superfast", "Speed of x264 against the size of the file."
    )
    trail_seconds: float = _setting(1.0, "Length of the trail drawn behind each object.")

    def __post_init__(self) -> None:
        _within("start", self.start, 1, math.inf)
        _within("end", self.end, self.start, math.inf)
        _within("stride", self.stride, 1, math.inf)
        _within("crf", self.crf, 0, 51)
        _within("trail_seconds", self.trail_seconds, 0, 3600)


@dataclass(frozen=True)
class Settings:
    """All settings of a run."""

    detector: DetectorSettings = field(default_factory=DetectorSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    video: VideoSettings = field(default_factory=VideoSettings)


SECTIONS: dict[str, type[Any]] = {
    "detector": DetectorSettings,
    "tracker": TrackerSettings,
    "refine": RefineSettings,
    "video": VideoSettings,
}


class Layer(NamedTuple):
    """Settings from one place.

    Attributes:
        origin: Where they come from, as shown to people.
        values: Section → key → value.
    """

    origin: str
    values: Mapping[str, Mapping[str, Any]]


class Resolved(NamedTuple):
    """Settings with the place each one came from.

    Attributes:
        settings: The settings.
        origins: (section, key) → where the value came from; `"default"` if nobody set it.
    """

    settings: Settings
    origins: dict[tuple[str, str], str]


def toml_layer(path: str | os.PathLike[str]) -> Layer:
    """Read a TOML file.

    Raises:
        ConfigError: There is no such file, or it holds something that is no setting.
        FormatError: It is no TOML.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(path, f"expected TOML: {error}") from error
    return Layer(str(path), values)


def environment_layer(environ: Mapping[str, str] | None = None) -> Layer:
    """Settings in environment variables.

    Raises:
        ConfigError: A variable begins with MOTRAIL_ and is no setting.
    """
    values: dict[str, dict[str, Any]] = {}
    known = {variable_name(section, key): (section, key) for section, key, _ in fields()}
    for name, text in (os.environ if environ is None else environ).items():
        if not name.startswith("MOTRAIL_") or name in OTHER_VARIABLES:
            continue
        if name not in known:
            raise ConfigError(
                f"environment variable {name}: unknown{nearest(name, [*known, *OTHER_VARIABLES])}"
            )
        section, key = known[name]
        values.setdefault(section, {})[key] = text
    return Layer("environment", values)


def resolve(layers: Iterable[Layer]) -> Resolved:
    """Put layers on top of each other, the first one on top, the defaults at the bottom.

    Raises:
        ConfigError: A section or key is unknown or a value has the wrong type; the message names
            the layer.
    """
    chosen: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins = {(section, key): "default" for section, key, _ in fields()}
    for layer in reversed(list(layers)):
        entries = list(_entries(layer))
        named = {(section, key) for section, key, _ in entries}
        # Who asks for frames on a higher layer does not want the seconds of a lower one.
        if named & {("tracker", "lost_frames"), ("tracker", "lost_seconds")} == {
            ("tracker", "lost_frames")
        }:
            chosen["tracker"].pop("lost_seconds", None)
            origins["tracker", "lost_seconds"] = "default"
        for section, key, value in entries:
            origin = variable_name(section, key) if layer.origin == "environment" else layer.origin
            chosen[section][key] = _checked(section, key, value, origin)
            origins[section, key] = origin
    settings = Settings(**{s: SECTIONS[s](**values) for s, values in chosen.items()})
    return Resolved(settings, origins)


def fields() -> Iterator[tuple[str, str, dataclasses.Field[Any]]]:
    """Section, key and dataclass field of every setting."""
    for section, cls in SECTIONS.items():
        for item in dataclasses.fields(cls):
            yield section, item.name, item


def variable_name(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"MOTRAIL_{section}_{key}".upper()


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: what was perhaps meant, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def _entries(layer: Layer) -> Iterator[tuple[str, str, Any]]:
    for section, values in layer.values.items():
        if section not in SECTIONS:
            raise ConfigError(
                f"{layer.origin}: unknown section [{section}]{nearest(section, SECTIONS)}"
            )
        if not hasattr(values, "items"):
            raise ConfigError(f"{layer.origin}: {section}: expected a section [{section}]")
        keys = [item.name for item in dataclasses.fields(SECTIONS[section])]
        for key, value in values.items():
            if key not in keys:
                raise ConfigError(
                    f"{layer.origin}: [{section}] unknown key {key!r}{nearest(key, keys)}"
                )
            yield section, key, value


@functools.cache
def _adapter(expected: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(expected, config=ConfigDict(allow_inf_nan=False))


def _checked(section: str, key: str, value: Any, origin: str) -> Any:
    from pydantic import ValidationError

    expected = get_type_hints(SECTIONS[section])[key]
    from_text = isinstance(value, str) and origin == variable_name(section, key)
    if key == "classes" and isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    elif from_text and value == "" and type(None) in getattr(expected, "__args__", ()):
        value = None
    try:
        # Text of the environment is converted; a file has types of its own and must use them.
        if isinstance(value, list):
            value = tuple(value)
        return _adapter(expected).validate_python(value, strict=not from_text)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise ConfigError(f"{origin}: [{section}] {key}: {what}, found {value!r}") from None
