"""Settings: who wins, and what is said about what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from motrail.config import (
    Layer,
    TrackerSettings,
    environment_layer,
    fields,
    resolve,
    toml_layer,
    variable_name,
)
from motrail.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults() -> None:
    resolved = resolve([])
    assert resolved.settings.tracker == TrackerSettings()
    assert set(resolved.origins.values()) == {"default"}


def test_flags_win_over_environment_over_file_over_bundle(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[tracker]\nhigh_threshold = 0.3\nlow_threshold = 0.03\nlost_frames = 3\n")
    bundle = Layer(
        "bundle",
        {
            "tracker": {
                "high_threshold": 0.4,
                "low_threshold": 0.04,
                "lost_frames": 4,
                "match_threshold": 0.44,
            }
        },
    )
    environment = environment_layer(
        {"MOTRAIL_TRACKER_HIGH_THRESHOLD": "0.2", "MOTRAIL_TRACKER_LOW_THRESHOLD": "0.02"}
    )
    flags = Layer("flag", {"tracker": {"high_threshold": 0.1}})
    settings, origins = resolve([flags, environment, toml_layer(file), bundle])
    tracker = settings.tracker
    assert (tracker.high_threshold, tracker.low_threshold) == (0.1, 0.02)
    assert (tracker.lost_frames, tracker.match_threshold) == (3, 0.44)
    assert origins["tracker", "high_threshold"] == "flag"
    assert origins["tracker", "low_threshold"] == "MOTRAIL_TRACKER_LOW_THRESHOLD"
    assert origins["tracker", "lost_frames"] == str(file)
    assert origins["tracker", "match_threshold"] == "bundle"
    assert origins["tracker", "score_fusion"] == "default"


def test_environment_text_becomes_values() -> None:
    layer = environment_layer(
        {
            "MOTRAIL_DETECTOR_CLASSES": "person, sports ball",
            "MOTRAIL_TRACKER_SCORE_FUSION": "no",
            "MOTRAIL_TRACKER_LOST_SECONDS": "1.5",
            "MOTRAIL_VIDEO_END": "",
            "MOTRAIL_CACHE": "/somewhere",
            "HOME": "/home/me",
        }
    )
    settings = resolve([layer]).settings
    assert settings.detector.classes == ("person", "sports ball")
    assert settings.tracker.score_fusion is False
    assert settings.tracker.lost_seconds == 1.5
    assert settings.video.end is None


def test_frames_asked_for_above_beat_seconds_below() -> None:
    bundle = Layer("bundle", {"tracker": {"lost_seconds": 2.0}})
    flags = Layer("flag", {"tracker": {"lost_frames": 10}})
    assert resolve([flags, bundle]).settings.tracker.lost_seconds is None
    both = Layer("flag", {"tracker": {"lost_frames": 10, "lost_seconds": 1.0}})
    assert resolve([both, bundle]).settings.tracker.lost_seconds == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trackr": {}}, r"mine: unknown section \[trackr\]; did you mean 'tracker'\?"),
        ({"tracker": 3}, r"expected a section \[tracker\]"),
        (
            {"tracker": {"lost_frame": 1}},
            r"\[tracker\] unknown key 'lost_frame'; did you mean 'lost_frames'\?",
        ),
        ({"tracker": {"zzz": 1}}, "unknown key 'zzz'; known: tracker, high_threshold, "),
        ({"tracker": {"lost_frames": "30"}}, r"lost_frames: .*valid integer, found '30'"),
        ({"tracker": {"lost_frames": 1.5}}, "lost_frames: .*valid integer, found 1.5"),
        ({"tracker": {"score_fusion": 1}}, "score_fusion: .*valid boolean"),
        (
            {"detector": {"preset": "yolov88"}},
            "preset: .*'bytetrack', 'yolox', .* or 'rt-detr', found 'yolov88'",
        ),
        ({"detector": {"classes": [1]}}, "classes: .*valid string"),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve([Layer("mine", values)])


def test_unknown_environment_variable() -> None:
    with pytest.raises(ConfigError, match="did you mean 'MOTRAIL_TRACKER_LOST_FRAMES'"):
        environment_layer({"MOTRAIL_TRACKER_LOST_FRAME": "3"})


def test_file_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        toml_layer(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[tracker\n")
    with pytest.raises(FormatError, match=r"broken\.toml: expected TOML: .*line 1"):
        toml_layer(broken)


def test_keys_are_unique_so_that_each_can_be_a_flag() -> None:
    """Of the sections that one command takes; `motrail train` takes [train] alone."""
    keys = [key for section, key, _ in fields() if section != "train"]
    assert len(keys) == len(set(keys))
    assert variable_name("tracker", "lost_frames") == "MOTRAIL_TRACKER_LOST_FRAMES"
