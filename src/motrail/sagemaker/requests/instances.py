"""What a request has to know of instance types: whether they have a GPU, and disks of their own."""

from __future__ import annotations

import re

_GPU = re.compile(r"(g|gr|p)[0-9]")
_LOCAL_DISK = re.compile(r"(g4dn|g5|g6|g6e|g6f|gr6|gr6f|g7|g7e|p3dn|p4d|p4de|p5|p5e|p5en|p6.*|"
                         r"trn[0-9].*|[a-z]+[0-9]+[a-z]*d[a-z]*)")  # fmt: skip


def family(instance: str) -> str:
    """The part between the dots: `g6` of `ml.g6.xlarge`."""
    parts = instance.split(".")
    return parts[1] if len(parts) > 1 else ""


def has_gpu(instance: str) -> bool:
    """Whether an instance type has an NVIDIA GPU."""
    return _GPU.match(family(instance)) is not None


def has_local_disk(instance: str) -> bool:
    """Whether its disks are its own, encrypted by the hardware.

    Requests that name a KMS key for the volume of such an instance are refused (`KmsKeyId` of
    `CreateEndpointConfig`, `VolumeKmsKeyId` of jobs).
    """
    return _LOCAL_DISK.fullmatch(family(instance)) is not None
