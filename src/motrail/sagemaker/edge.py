"""A bundle as a Greengrass component: a folder to look at, and what makes AWS know it."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from motrail.errors import ConfigError, ModelError
from motrail.outputs import WholeFolder, writing
from motrail.sagemaker.removal import remove_object
from motrail.sagemaker.requests.edge import create_component, recipe_text
from motrail.sagemaker.rules import check as check_request
from motrail.sagemaker.takeback import TakeBack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud
    from motrail.sagemaker.requests.edge import Component

FILES = ("model.onnx", "model.json")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_VERSION = re.compile(r"(0|[1-9][0-9]{0,5})(\.(0|[1-9][0-9]{0,5})){2}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9./:@_-]{0,254}")


def check(component: Component) -> None:
    """See that a component may be called so; its texts stand in commands of the device's shell.

    Raises:
        ConfigError: It may not.
    """
    if not _NAME.fullmatch(component.name):
        raise ConfigError(
            "--name: expected up to 128 letters, digits, dots, hyphens and underscores, found "
            f"{component.name!r}"
        )
    if not re.fullmatch(r"[A-Za-z0-9]", component.name[0]):
        raise ConfigError(f"--name: expected a letter or digit first, found {component.name!r}")
    if not _VERSION.fullmatch(component.version):
        raise ConfigError(f"--version: expected three numbers as in 1.0.0, found "
                          f"{component.version!r}")  # fmt: skip
    if not _IMAGE.fullmatch(component.image):
        raise ConfigError(f"--image: expected the URI of an image, found {component.image!r}")
    if not 1 <= component.port <= 65535:
        raise ConfigError(f"--port: expected 1 to 65535, found {component.port}")
    if not component.architectures:
        raise ConfigError("--architecture: expected amd64 or aarch64, found none")


def write_component(component: Component, bundle: Bundle, output: Path) -> list[Path]:
    """Write the recipe and the artifacts into a new folder, laid out as Greengrass's tools take it.

    `recipes/NAME-VERSION.json` and `artifacts/NAME/VERSION/`: as `greengrass-cli deployment create
    --recipeDir recipes --artifactDir artifacts` wants them on a device.

    Raises:
        ModelError: It is no bundle.
        OutputError: The folder holds something already, or cannot be written.
    """
    if bundle.spec is None:
        raise ModelError(f"{bundle.path}: expected a bundle (model.onnx with model.json), found a "
                         "bare .onnx")  # fmt: skip
    recipe = f"recipes/{component.name}-{component.version}.json"
    place = f"artifacts/{component.name}/{component.version}"
    with WholeFolder(output) as whole, writing(output):
        for name in ("recipes", place):
            (whole.temporary / name).mkdir(parents=True)
        (whole.temporary / recipe).write_text(recipe_text(component), encoding="utf-8")
        network = bundle.onnx if isinstance(bundle.onnx, bytes) else bundle.onnx.read_bytes()
        (whole.temporary / place / "model.onnx").write_bytes(network)
        spec = bundle.spec.model_dump_json(exclude_unset=True, indent=2)
        (whole.temporary / place / "model.json").write_text(spec + "\n", encoding="utf-8")
    return [output / recipe, *(output / place / name for name in FILES)]


def artifact_uris(project: Project, name: str, version: str) -> tuple[str, ...]:
    """Where the files of the bundle are kept for devices."""
    return tuple(project.uri("edge", name, version, file) for file in FILES)


def create(
    cloud: Cloud,
    project: Project,
    component: Component,
    files: list[Path],
    say: Callable[[str], None],
) -> str | None:
    """Upload the artifacts and make the component known; gives its ARN.

    A rehearsal has no Greengrass: there the request is checked and not sent, which is said.

    Args:
        cloud: Where.
        project: Its tag.
        component: What.
        files: What `write_component` wrote.
        say: Told what is done.

    Raises:
        ConfigError: The request breaks a rule.
        CloudError: AWS refused; what was uploaded is removed again.
    """
    request = create_component(component, project.tags(component=component.name))
    check_request(request)
    with TakeBack(say) as back:
        for path, uri in zip(files[1:], component.artifacts, strict=True):
            back.note(uri, partial(remove_object, cloud, uri))
            cloud.upload(path, uri)
            say(f"{path.name} to {uri}")
        if cloud.rehearsal:
            say("CreateComponentVersion was checked; a rehearsal has no Greengrass to send it to")
            return None
        return str(cloud.call(request)["arn"])
