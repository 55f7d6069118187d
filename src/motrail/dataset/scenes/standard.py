"""The standard football clips: the same for everybody, for good."""

from __future__ import annotations

from motrail.dataset.scenes.settings import SceneSettings

_CLIPS = (
    ("train", "football-train-1", 7, "normal", False),
    ("train", "football-train-2", 4, "normal", False),
    ("train", "football-train-3", 16, "normal", True),
    ("train", "football-train-4", 12, "normal", False),
    ("train", "football-train-5", 4, "hard", False),
    ("train", "football-train-6", 1, "hard", True),
    ("val", "football-val-1", 2, "normal", False),
    ("val", "football-val-2", 5, "hard", True),
    ("test", "football-test-1", 17, "normal", True),
    ("test", "football-test-2", 3, "hard", False),
)
"""Split, name, seed, difficulty, and whether something stands in front."""


def standard_football() -> list[tuple[str, str, SceneSettings]]:
    """Six clips to train on, two to choose by and two to test on: split, name and settings.

    All are 640×360 pixels, 100 frames at 25 frames a second: large enough that half of the players
    are 50 to 70 pixels high, small enough that a detector can be trained on two processor cores,
    and long enough (four seconds) for players to pass behind each other and to leave and come back.
    The one class is `player`. Seeds were chosen for differing kits, camera places and parts of the
    pitch; every kind of kit in the test clips (not the pairs) is in a training clip, too. The hard
    clips have teams of similar shirts, more players, longer blur and a camera that shakes and pans.
    Every value is set here, so that another default elsewhere leaves the clips as they are.
    """
    return [
        (
            split,
            name,
            SceneSettings(
                scene="football",
                seed=seed,
                width=640,
                height=360,
                frames=100,
                frame_rate=25.0,
                difficulty=difficulty,
                objects=23 if difficulty == "hard" else 16,
                ball=False,
                shadows=True,
                motion_blur=True,
                low_light=False,
                camera_shake=difficulty == "hard",
                camera_pan=difficulty == "hard",
                occluders=occluders,
            ),
        )
        for split, name, seed, difficulty, occluders in _CLIPS
    ]
