"""Which CUDA our images bring, and on which machine image of SageMaker they run.

The one table: a pair that does not fit dies on the instance without a line in the log.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from motrail.errors import ConfigError


class MachineImage(NamedTuple):
    """A machine image that endpoints can ask for (`InferenceAmiVersion`).

    Attributes:
        name: As in the request.
        driver: Of NVIDIA, the major version.
        cuda: The newest CUDA that this driver runs.
    """

    name: str
    driver: int
    cuda: tuple[int, int]


MACHINE_IMAGES = (
    MachineImage("al2-ami-sagemaker-inference-gpu-2", 535, (12, 2)),
    MachineImage("al2-ami-sagemaker-inference-gpu-2-1", 535, (12, 2)),
    MachineImage("al2-ami-sagemaker-inference-gpu-3-1", 550, (12, 4)),
    MachineImage("al2023-ami-sagemaker-inference-gpu-4-1", 580, (13, 0)),
)
"""Those with NVIDIA's driver, from `ProductionVariant` in SageMaker's service model (botocore
1.44.5)."""

SERVING_CUDA = (13, 0)
"""Of the image that `containers/serve` makes for GPUs: what onnxruntime-gpu 1.31 is built for."""


def read_cuda(text: str) -> tuple[int, int]:
    """Major and minor version from `12.4` or `12.4.1`.

    Raises:
        ConfigError: It is no version.
    """
    found = re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})(\.[0-9]+)?", text.strip())
    if found is None:
        raise ConfigError(f"CUDA version: expected one as in 12.4, found {text!r}")
    return int(found[1]), int(found[2])


def machine_image(cuda: tuple[int, int] = SERVING_CUDA) -> MachineImage:
    """The machine image for a container that brings this CUDA.

    An exact fit, or else the oldest with a newer CUDA of the same major version: a driver runs
    every older CUDA of its own major version (CUDA Compatibility, "Minor Version Compatibility").

    Raises:
        ConfigError: There is none.
    """
    able = [item for item in MACHINE_IMAGES if runs(item, cuda)]
    if not able:
        known = ", ".join(sorted({f"{major}.{minor}" for _, _, (major, minor) in MACHINE_IMAGES}))
        raise ConfigError(
            f"CUDA {cuda[0]}.{cuda[1]}: no machine image of SageMaker's endpoints runs it; they "
            f"have {known}: build the serving image with one of these, or an older one of the same "
            "major version"
        )
    fits = [item for item in able if item.cuda == cuda]
    # Of two alike the later one: it does not mount compatibility libraries over the image's own.
    return fits[-1] if fits else min(able, key=lambda item: (item.cuda, able.index(item)))


def runs(image: MachineImage, cuda: tuple[int, int]) -> bool:
    """Whether a container with this CUDA runs on the machine image."""
    return image.cuda[0] == cuda[0] and image.cuda[1] >= cuda[1]
