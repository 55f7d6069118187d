"""What is to be deployed, as plain data, and the requests that it takes."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from motrail.config import environment_layer, resolve
from motrail.errors import ConfigError, ModelError
from motrail.outputs import writing
from motrail.sagemaker.cuda import SERVING_CUDA, machine_image, read_cuda
from motrail.sagemaker.requests import endpoint as requests
from motrail.sagemaker.requests import scaling
from motrail.sagemaker.requests.instances import has_gpu

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from motrail.config import SageMakerSettings
    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Request

Kind = Literal["realtime", "serverless", "async"]
PAYLOAD_MB: dict[Kind, int] = {"realtime": 25, "serverless": 4, "async": 1024}
"""Largest input of an endpoint."""
ANSWER_SECONDS = 60
"""In which an endpoint that answers at once has to do so."""
MAX_ASYNC_SECONDS = 3600
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_MAX_VARIANTS = 10


class Share(NamedTuple):
    """A model and its share of the traffic.

    Attributes:
        bundle: Checked; see `motrail.detect.bundle`.
        weight: Relative to the others'.
    """

    bundle: Bundle
    weight: float = 1.0


@dataclass(frozen=True)
class Scaling:
    """How many instances there may be.

    Attributes:
        low: At least; 0 for asynchronous endpoints alone.
        high: At most; as many as `low` means that nothing is scaled.
        target: Requests a minute that each instance is to get, or for asynchronous endpoints
            requests that wait for each.
    """

    low: int = 1
    high: int = 1
    target: float = 600.0

    @property
    def active(self) -> bool:
        """Whether the number changes with the load."""
        return self.high > self.low


@dataclass(frozen=True)
class Deployment:
    """What is to be deployed.

    Attributes:
        name: Of the endpoint.
        kind: `realtime`, `serverless` or `async`.
        shares: The models.
        scaling: How many instances.
        memory_mib: Of a serverless endpoint.
        concurrency: Requests at a time: of a serverless endpoint, or of each instance of an
            asynchronous one.
        seconds: The longest an asynchronous endpoint may work on one input.
        capture_percent: Of the requests that are kept, with their answers; 0 for none.
        environment: Of the container, `MOTRAIL_…`.
        cuda: Of the serving image, as in `12.4`; None for that of ours.

    Raises:
        ConfigError: Something cannot be had.
    """

    name: str
    kind: Kind
    shares: tuple[Share, ...]
    scaling: Scaling = field(default_factory=Scaling)
    memory_mib: int = 4096
    concurrency: int = 1
    seconds: int = 900
    capture_percent: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    cuda: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"--name: expected up to 63 letters, digits and single hyphens between them, found "
                f"{self.name!r}"
            )
        if not 1 <= len(self.shares) <= _MAX_VARIANTS:
            raise ConfigError(f"expected 1 to {_MAX_VARIANTS} models, found {len(self.shares)}")
        for share in self.shares:
            if share.bundle.spec is None:
                raise ModelError(
                    f"{share.bundle.path}: expected a bundle (model.onnx with model.json), found a "
                    "bare .onnx"
                )
            if not 0 <= share.weight <= 1e6 or not any(item.weight for item in self.shares):
                raise ConfigError(f"--variant: expected a weight above 0, found {share.weight}")
        self._check_kind()
        self._check_numbers()
        resolve([environment_layer(self.environment)])
        strange = [name for name in self.environment if not name.startswith("MOTRAIL_")]
        if strange:
            raise ConfigError(f"--env: expected names that begin with MOTRAIL_, found {strange[0]}")

    def _check_kind(self) -> None:
        if self.kind != "realtime" and len(self.shares) > 1:
            raise ConfigError(f"--variant: {self.kind} endpoints have one model")
        if self.kind != "realtime" and self.capture_percent:
            raise ConfigError(f"--capture-percent: {self.kind} endpoints keep no data")
        if self.kind == "realtime" and self.scaling.low < 1:
            raise ConfigError("--min-instances: expected at least 1; only async goes to zero")

    def _check_numbers(self) -> None:
        scaling_ = self.scaling
        limits: list[tuple[str, float, float, float]] = [
            ("--capture-percent", self.capture_percent, 0, 100),
            ("--max-instances", scaling_.high, max(scaling_.low, 1), 1000),
            ("--min-instances", scaling_.low, 0, 1000),
            ("--target", scaling_.target, 0.001, 1e6),
            ("--timeout", self.seconds, 1, MAX_ASYNC_SECONDS),
            ("--concurrency", self.concurrency, 1, 200 if self.kind == "serverless" else 1000),
        ]
        if self.kind == "serverless":
            limits.append(("--memory", self.memory_mib, 1024, 6144))
            if self.memory_mib % 1024:
                raise ConfigError(f"--memory: expected whole GiB in MiB, found {self.memory_mib}")
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise ConfigError(f"{name}: expected {low:g} to {high:g}, found {value:g}")

    def variants(self, models: list[str]) -> list[requests.Variant]:
        """The models by their names, as variants."""
        if len(models) == 1:
            return [requests.Variant(models[0])]
        return [
            requests.Variant(model, f"variant-{number}", share.weight)
            for number, (model, share) in enumerate(zip(models, self.shares, strict=True), start=1)
        ]

    def container(self) -> dict[str, str]:
        """Environment of the container: limits that fit those of the endpoint."""
        megabytes = PAYLOAD_MB[self.kind]
        own = {
            "MOTRAIL_SERVE_MAX_FRAME_MB": str(min(megabytes, PAYLOAD_MB["realtime"])),
            "MOTRAIL_SERVE_MAX_VIDEO_MB": str(megabytes),
            "MOTRAIL_SERVE_VIDEO_SECONDS": str(ANSWER_SECONDS),
        }
        if self.kind == "async":
            own["MOTRAIL_SERVE_VIDEO_SECONDS"] = str(self.seconds)
            own["MOTRAIL_SERVE_VIDEOS"] = str(self.concurrency)
        return own | dict(self.environment)


def on_what(deployment: Deployment, instance: str) -> requests.Instances | requests.Serverless:
    """What an endpoint runs on.

    Raises:
        ConfigError: No machine image runs the CUDA of the serving image.
    """
    if deployment.kind == "serverless":
        return requests.Serverless(deployment.memory_mib, deployment.concurrency)
    ami = machine_image(_cuda(deployment)).name if has_gpu(instance) else None
    return requests.Instances(instance, max(deployment.scaling.low, 1), ami)


def _cuda(deployment: Deployment) -> tuple[int, int]:
    return SERVING_CUDA if deployment.cuda is None else read_cuda(deployment.cuda)


def config_request(
    project: Project,
    settings: SageMakerSettings,
    deployment: Deployment,
    config: str,
    models: list[str],
) -> Request:
    """The endpoint configuration of a deployment.

    Args:
        project: Bucket, topics and tag.
        settings: Instance type and KMS key.
        deployment: What is to be deployed.
        config: Name of the configuration.
        models: Names of the models, in the order of the shares.

    Raises:
        ConfigError: It cannot be had with these settings.
    """
    if deployment.kind == "serverless" and settings.subnets:
        raise ConfigError("subnets: serverless endpoints are in no VPC; leave subnets out")
    name = deployment.name
    percent = deployment.capture_percent
    tags = {"endpoint": name, "kind": deployment.kind}
    if deployment.kind != "serverless" and has_gpu(settings.serving_instance):
        tags["cuda"] = ".".join(map(str, _cuda(deployment)))
    return requests.create_config(
        project,
        settings,
        config,
        deployment.variants(models),
        on_what(deployment, settings.serving_instance),
        capture=requests.Capture(percent, project.uri("capture", name)) if percent else None,
        asynchronous=None
        if deployment.kind != "async"
        else requests.Asynchronous(
            project.uri("async", name, "output"),
            project.uri("async", name, "failure"),
            deployment.concurrency,
        ),
        tags=tags,
    )


def scaling_requests(project: Project, deployment: Deployment, variant: str) -> list[Request]:
    """What makes a variant scale; the last of an asynchronous endpoint is `scaling.wake`."""
    name, wanted = deployment.name, deployment.scaling
    if not wanted.active or deployment.kind == "serverless":
        return []
    bounds = scaling.Bounds(wanted.low, wanted.high)
    registered = scaling.register(project, name, variant, bounds, deployment.kind)
    if deployment.kind == "realtime":
        return [registered, scaling.track_invocations(name, variant, wanted.target)]
    tracked = scaling.track_backlog(name, variant, wanted.target)
    return [registered, tracked, *([] if wanted.low else [scaling.wake(name, variant)])]


def pack(bundle: Bundle, path: Path) -> None:
    """Write a bundle as `model.tar.gz`: its two files, whatever else lay beside them.

    The same bundle gives the same bytes.

    Raises:
        ModelError: It is no bundle, or cannot be read.
        OutputError: It cannot be written.
    """
    if bundle.spec is None:
        raise ModelError(f"{bundle.path}: expected a bundle with model.json")
    spec = bundle.spec.model_dump_json(exclude_unset=True, indent=2).encode()
    try:
        network = bundle.onnx if isinstance(bundle.onnx, bytes) else bundle.onnx.read_bytes()
    except OSError as error:
        raise ModelError(f"{bundle.path}: cannot be read: {error.strerror}") from error
    with (
        writing(path),
        path.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in (("model.json", spec), ("model.onnx", network)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
