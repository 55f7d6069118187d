"""The settings of training: what is taken for truth, how pictures are changed, how it is learnt."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from motrail.config.sections import setting, within
from motrail.errors import ConfigError

BestBy = Literal["ap", "ap50", "hota"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

WITHOUT_MIXUP = ("nano", "tiny")
"""Networks too small to gain from pictures laid over one another (YOLOX, arXiv 2107.08430, 2)."""
_MAX_SCALE = 10.0


@dataclass(frozen=True)
class BoxLimits:
    """Which boxes are objects to be found, and which are only not to be taken for background."""

    min_visibility: float = setting(
        0.1, "Boxes known to be less visible than this share are neither right nor wrong to find."
    )
    min_share: float = setting(
        0.2, "The same for boxes of which less than this share is inside the picture."
    )
    min_pixels: float = setting(
        2.0, "The same for boxes with a shorter side than this, in pixels of the input."
    )

    def __post_init__(self) -> None:
        within("min_visibility", self.min_visibility, 0, 1)
        within("min_share", self.min_share, 0, 1)
        within("min_pixels", self.min_pixels, 0, 1024)


@dataclass(frozen=True)
class AugmentSettings:
    """How pictures are changed at random. Shares are those of the pictures it happens to.

    The kinds and most ranges are those of YOLOX (arXiv 2107.08430). Rotation is smaller and there
    is no shear: both loosen upright boxes, and a camera that tracks hangs level.
    """

    mosaic: float = setting(1.0, "Share of pictures that are put together of four.")
    mixup: float | None = setting(
        None,
        "Share of pictures that another is laid over; 0 for nano and tiny and 1 for larger "
        "networks if unset.",
    )
    degrees: float = setting(2.0, "Largest rotation, either way.")
    translate: float = setting(0.1, "Largest move, as a share of the input's sides.")
    scale: tuple[float, float] = setting((0.5, 1.5), "Smallest and largest zoom.")
    mixup_scale: tuple[float, float] = setting((0.5, 1.5), "The same for what mixup lays over.")
    shear: float = setting(0.0, "Largest shear along each axis, in degrees.")
    hue: float = setting(0.015, "Largest change of hue, as a share of the colour wheel.")
    saturation: float = setting(0.5, "Largest change of saturation, as a share of it.")
    brightness: float = setting(0.3, "Largest change of brightness, as a share of it.")
    flip: float = setting(0.5, "Share of pictures that are mirrored.")
    multiscale: float = setting(
        0.25, "Largest change of the input's size, as a share; sizes are multiples of 32."
    )
    multiscale_every: int = setting(10, "Batches that have one size.")
    plain_epochs: int = setting(15, "Last epochs, in which all of this is off.")

    def __post_init__(self) -> None:
        for name in ("mosaic", "flip", "translate", "saturation", "brightness"):
            within(name, getattr(self, name), 0, 1)
        if self.mixup is not None:
            within("mixup", self.mixup, 0, 1)
        within("degrees", self.degrees, 0, 180)
        within("shear", self.shear, 0, 45)
        within("hue", self.hue, 0, 0.5)
        within("multiscale", self.multiscale, 0, 0.9)
        within("multiscale_every", self.multiscale_every, 1, 1_000_000)
        within("plain_epochs", self.plain_epochs, 0, 1_000_000)
        for name in ("scale", "mixup_scale"):
            low, high = getattr(self, name)
            within(name, low, 1 / _MAX_SCALE, _MAX_SCALE)
            if not low <= high <= _MAX_SCALE:
                raise ConfigError(
                    f"{name}: expected the smallest zoom, then the largest, of {_MAX_SCALE:g} at "
                    f"most; found {low}, {high}"
                )

    def for_network(self, size: str) -> AugmentSettings:
        """The same with `mixup` decided for a network of this size: nano, tiny, s, m, l or x."""
        if self.mixup is not None:
            return self
        return dataclasses.replace(self, mixup=0.0 if size in WITHOUT_MIXUP else 1.0)

    def is_plain(self, epoch: int, epochs: int) -> bool:
        """Whether an epoch, counted from 0, is one of the last `plain_epochs` of `epochs`."""
        return epoch >= epochs - self.plain_epochs


@dataclass(frozen=True)
class TrainSettings(AugmentSettings, BoxLimits):
    """`[train]`: from a dataset to a model."""

    epochs: int = setting(100, "How often all pictures are learnt from.")
    batch: int = setting(8, "Pictures in a batch, in each process.")
    input_width: int | None = setting(
        None, "Of the network's input, a multiple of 32; 416 for nano and tiny, else 640 if unset."
    )
    input_height: int | None = setting(None, "The same; the width if unset.")
    learning_rate: float | None = setting(
        None,
        "The highest one; if unset 0.02 from nothing and 0.002 from weights at a batch of 8, and "
        "with the root of the batch's size.",
    )
    warmup_steps: int | None = setting(
        None, "Steps in which it rises; a tenth of all, from 10 to 1000, if unset."
    )
    momentum: float = setting(0.9, "Of stochastic gradient descent.")
    weight_decay: float = setting(5e-4, "Pull of the weights of convolutions towards 0.")
    average_decay: float = setting(0.9998, "How slowly the averaged network follows.")
    freeze_statistics: bool = setting(
        False,
        "Whether batch normalisation keeps the statistics of the weights started from; for a few "
        "dozen pictures, with a learning rate of some 3e-5.",
    )
    accumulate: int = setting(1, "Batches whose gradients are added up for one step.")
    precision: Precision = setting(
        "auto", "auto, float32, bfloat16 or float16; auto takes bfloat16 where a GPU has it."
    )
    compile: bool = setting(False, "Whether PyTorch compiles the network first.")
    device: str = setting("auto", "auto, cpu, cuda, cuda:N or mps.")
    workers: int | None = setting(
        None, "Threads that prepare pictures; half the cores, at most 8, if unset."
    )
    cache_gb: float | None = setting(
        None, "Memory for prepared pictures; a quarter of what there is if unset."
    )
    bad_pictures: Literal["error", "skip"] = setting(
        "error", "What to do about pictures that cannot be read: error or skip."
    )
    seed: int = setting(1, "The same seed gives the same training.")
    validate_every: int = setting(1, "Epochs from one validation to the next.")
    best_by: BestBy = setting("ap", "What the best model is best in: ap, ap50 or hota.")
    patience: int = setting(0, "Epochs without a better one after which it ends; 0 for never.")
    checkpoint_minutes: float = setting(10.0, "Minutes between checkpoints within an epoch.")
    log_every: int = setting(10, "Batches from one line of the log to the next.")

    def __post_init__(self) -> None:
        AugmentSettings.__post_init__(self)
        BoxLimits.__post_init__(self)
        for name in ("epochs", "batch", "accumulate", "validate_every", "log_every"):
            within(name, getattr(self, name), 1, 1_000_000)
        for name in ("input_width", "input_height"):
            value = getattr(self, name)
            if value is not None and (value % 32 or not 32 <= value <= 8192):
                raise ConfigError(f"{name}: expected a multiple of 32 up to 8192, found {value}")
        within("learning_rate", self.learning_rate, 1e-9, 100)
        within("warmup_steps", self.warmup_steps, 0, 1e9)
        within("momentum", self.momentum, 0, 0.9999)
        within("weight_decay", self.weight_decay, 0, 1)
        within("average_decay", self.average_decay, 0, 1)
        within("workers", self.workers, 0, 1024)
        within("cache_gb", self.cache_gb, 0, 1e6)
        within("seed", self.seed, 0, 2**62)
        within("patience", self.patience, 0, 1_000_000)
        within("checkpoint_minutes", self.checkpoint_minutes, 0, math.inf)
        for name, kinds in (("precision", Precision), ("best_by", BestBy)):
            if getattr(self, name) not in get_args(kinds):
                raise ConfigError(
                    f"{name}: expected one of {', '.join(get_args(kinds))}, "
                    f"found {getattr(self, name)!r}"
                )


PLAIN = AugmentSettings(
    mosaic=0.0,
    mixup=0.0,
    degrees=0.0,
    translate=0.0,
    scale=(1.0, 1.0),
    hue=0.0,
    saturation=0.0,
    brightness=0.0,
    flip=0.0,
    multiscale=0.0,
)
"""Pictures as the detector will see them."""
