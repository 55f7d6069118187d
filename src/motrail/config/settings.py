"""All sections together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from motrail.config.sagemaker import SageMakerSettings
from motrail.config.sections import (
    DetectorSettings,
    RefineSettings,
    TrackerSettings,
    VideoSettings,
)
from motrail.config.serving import ServeSettings
from motrail.config.training import TrainSettings


@dataclass(frozen=True)
class Settings:
    """All settings of a run."""

    detector: DetectorSettings = field(default_factory=DetectorSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    video: VideoSettings = field(default_factory=VideoSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    sagemaker: SageMakerSettings = field(default_factory=SageMakerSettings)


SECTIONS: dict[str, type[Any]] = {
    "detector": DetectorSettings,
    "tracker": TrackerSettings,
    "refine": RefineSettings,
    "video": VideoSettings,
    "train": TrainSettings,
    "serve": ServeSettings,
    "sagemaker": SageMakerSettings,
}
