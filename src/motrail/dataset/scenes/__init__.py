"""Synthetic footage with perfect truth: football, traffic, a conveyor belt.

    scene = make_scene(SceneSettings(scene="football", seed=7, frames=100))
    for frame in scene.frames():
        frame.image, frame.ids, frame.boxes_xywh, frame.visibility, frame.world_xy

Boxes and visibility are counted on the pixels that were drawn, ids and positions come from the
movement itself, and the homography from the camera that took the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from motrail.dataset.scenes.conveyor import ConveyorWorld
from motrail.dataset.scenes.football import FootballWorld
from motrail.dataset.scenes.scene import Scene, SceneFrame
from motrail.dataset.scenes.settings import DIFFICULTIES, SCENES, SceneSettings
from motrail.dataset.scenes.standard import standard_football
from motrail.dataset.scenes.traffic import TrafficWorld
from motrail.dataset.scenes.truth import TruthCollector

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.dataset.scenes.scene import World

__all__ = [
    "DIFFICULTIES",
    "SCENES",
    "Scene",
    "SceneFrame",
    "SceneSettings",
    "TruthCollector",
    "make_scene",
    "standard_football",
]

_WORLDS: dict[str, Callable[[SceneSettings], World]] = {
    "football": FootballWorld,
    "traffic": TrafficWorld,
    "conveyor": ConveyorWorld,
}


def make_scene(settings: SceneSettings) -> Scene:
    """The clip that the settings describe; nothing is drawn before its frames are asked for."""
    return Scene(settings, _WORLDS[settings.scene])
