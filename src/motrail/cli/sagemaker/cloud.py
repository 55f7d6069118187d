"""What all commands of `motrail sagemaker` share: their flags, and the cloud they talk to."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.settings import flags_of, group_of, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.config import SageMakerSettings
    from motrail.sagemaker.request import Cloud

_ABOUT = (
    "Those that matter here; motrail config show lists the others of [sagemaker], which can be "
    "given, too."
)


def _flags(*more: str) -> Any:
    return flags_of("sagemaker", ("stack", "region", "profile", *more), _ABOUT)


_NETWORK = ("subnets", "security_groups")
SageMakerFlags: Any = _flags()
SetupFlags: Any = _flags("kms_key", *_NETWORK)
BuildFlags: Any = _flags("serving_instance")
LabelFlags: Any = _flags("workteam", "kms_key")
TrainingFlags: Any = _flags(
    "training_instance", "training_fallbacks", "spot", "max_hours", "max_wait_hours", "volume_gib",
    "kms_key", *_NETWORK,
)  # fmt: skip
HostingFlags: Any = _flags("serving_instance", "kms_key", *_NETWORK)
ServerlessFlags: Any = _flags("kms_key")
ProcessingFlags: Any = _flags(
    "processing_instance", "max_hours", "volume_gib", "kms_key", *_NETWORK
)
Rehearse = Annotated[
    Path | None,
    Parameter(
        name="--rehearse",
        help=(
            "Do everything on this machine, at no cost and without an account: what AWS would "
            "hold is kept in this folder."
        ),
        group=group_of("sagemaker", _ABOUT),
    ),
]
Config = Annotated[Path | None, Parameter(name=("--config", "-c"))]
Yes = Annotated[bool, Parameter(name=("--yes", "-y"), negative="")]


def sagemaker_settings(flags: Any, config: Path | None) -> SageMakerSettings:
    """Settings of `[sagemaker]` from flags, environment and file.

    Raises:
        ConfigError: A value makes no sense.
    """
    return resolve_settings({"sagemaker": flags}, config).settings.sagemaker


@contextlib.contextmanager
def open_cloud(settings: SageMakerSettings, rehearse: Path | None = None) -> Iterator[Cloud]:
    """AWS, or its stand-in on this machine.

    Args:
        settings: Region, profile and the name of the stack.
        rehearse: The folder of `--rehearse`.

    Raises:
        MissingExtraError: boto3 is not installed.
        ConfigError: There is no such profile, or no region is known.
    """
    if rehearse is None:
        from motrail.sagemaker.aws import Aws

        yield Aws(region=settings.region, profile=settings.profile)
        return
    from motrail.sagemaker.rehearsal import Rehearsal

    with contextlib.closing(Rehearsal(rehearse, region=settings.region)) as rehearsal:
        print(f"rehearsal in {rehearse}: nothing is sent to AWS", file=sys.stderr)
        yield rehearsal


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on the terminal; no terminal is a no.

    Args:
        question: What is to be done, without a question mark.
        yes: Whether the answer was given on the command line.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        print(f"{question}? not without --yes, as there is no terminal to ask", file=sys.stderr)
        return False
    print(f"{question}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
