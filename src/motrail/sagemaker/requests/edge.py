"""AWS IoT Greengrass v2: a bundle and the serving container as a component of a device.

The recipe follows AWS's "component recipe reference" (format 2020-01-25) and "Run a Docker
container"; see the AWS IoT Greengrass v2 developer guide.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from motrail.sagemaker.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Device = Literal["cpu", "cuda", "openvino"]
Architecture = Literal["amd64", "aarch64"]
FORMAT = "2020-01-25"
_PORT = 8080
_DEPENDENCIES = {
    # Pulls the image; brings the device's credentials for ECR and S3.
    "aws.greengrass.DockerApplicationManager": {"VersionRequirement": "~2.0.0"},
    "aws.greengrass.TokenExchangeService": {"VersionRequirement": "~2.0.0"},
}


@dataclass(frozen=True)
class Component:
    """What runs on a device.

    Attributes:
        name: Of the component, as in `motrail.parcels`.
        version: As in 1.0.0.
        image: URI of the serving image.
        artifacts: URIs of the bundle's files, `s3://…`.
        device: What the network runs on.
        architectures: Of the devices.
        port: On which the container answers, on the device itself alone.
        about: What the model is, for people.
    """

    name: str
    version: str
    image: str
    artifacts: tuple[str, ...]
    device: Device = "cpu"
    architectures: tuple[Architecture, ...] = ("amd64",)
    port: int = _PORT
    about: str = ""


def recipe(component: Component) -> dict[str, Any]:
    """The recipe of a component.

    Port and device are its configuration, which a deployment may change.
    """
    return {
        "RecipeFormatVersion": FORMAT,
        "ComponentName": component.name,
        "ComponentVersion": component.version,
        "ComponentDescription": component.about or "Multi-object tracking by motrail",
        "ComponentPublisher": "motrail",
        "ComponentConfiguration": {
            "DefaultConfiguration": {"port": component.port, "device": component.device}
        },
        "ComponentDependencies": _DEPENDENCIES,
        "Manifests": [_manifest(component, each) for each in component.architectures],
    }


def container_name(component: Component) -> str:
    """What the container is called on the device."""
    return component.name.replace(".", "-")


def _manifest(component: Component, architecture: Architecture) -> dict[str, Any]:
    name = container_name(component)
    words = [
        "docker run --rm",
        f"--name {name}",
        "--read-only --tmpfs /tmp",
        *(["--gpus all"] if component.device == "cuda" else []),
        f"-p 127.0.0.1:{{configuration:/port}}:{_PORT}",
        "-v {artifacts:path}:/opt/ml/model:ro",
        "-e MOTRAIL_DETECTOR_DEVICE={configuration:/device}",
        component.image,
        "serve",
    ]
    artifacts: list[dict[str, Any]] = [{"URI": f"docker:{component.image}"}]
    artifacts += [
        {"URI": uri, "Unarchive": "NONE", "Permission": {"Read": "ALL"}}
        for uri in component.artifacts
    ]
    return {
        "Name": f"linux-{architecture}",
        "Platform": {"os": "linux", "architecture": architecture},
        "Lifecycle": {
            # What a device left behind that lost its power has the name still.
            "Run": {"Script": f"docker rm -f {name} || true\n{' '.join(words)}"},
            "Shutdown": {"Script": f"docker stop {name} || true"},
        },
        "Artifacts": artifacts,
    }


def recipe_text(component: Component) -> str:
    """The recipe as JSON."""
    return json.dumps(recipe(component), indent=2, ensure_ascii=False) + "\n"


def create_component(component: Component, tags: Sequence[Mapping[str, str]]) -> Request:
    """Make the version of the component known to AWS, from where devices get it."""
    parameters = {
        "inlineRecipe": recipe_text(component).encode(),
        "tags": {tag["Key"]: tag["Value"] for tag in tags},
    }
    return Request("greengrassv2", "CreateComponentVersion", parameters)
