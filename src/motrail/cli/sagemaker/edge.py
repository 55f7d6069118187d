"""`motrail sagemaker edge`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import Annotated, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json
from motrail.cli.sagemaker.cloud import (
    Config,
    Rehearse,
    SageMakerFlags,
    open_cloud,
    sagemaker_settings,
)
from motrail.cli.sagemaker.deploying import find_model
from motrail.cli.sagemaker.jobs import say


def edge_command(
    bundle: str,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    *,
    name: Annotated[str, Parameter(name=("--name", "-n"))],
    version: str = "1.0.0",
    image: str | None = None,
    device: Literal["cpu", "cuda", "openvino"] = "cpu",
    architecture: Annotated[tuple[Literal["amd64", "aarch64"], ...], Parameter(negative="")] = (
        "amd64",
    ),
    port: int = 8080,
    create: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    rehearse: Rehearse = None,
    config: Config = None,
    as_json: AsJson = False,
    sagemaker: SageMakerFlags = None,
) -> int:
    """Make a component of AWS IoT Greengrass v2 of a bundle: motrail's server on a device.

    The folder holds the recipe and the bundle's files. With --create the files go to S3 and the
    component is made known to AWS, from where it is deployed to devices. A device needs Docker,
    the Greengrass nucleus and a user that may use Docker.

    For example:

    - `motrail sagemaker edge model.tar.gz component --name motrail.parcels`
    - `motrail sagemaker edge model.tar.gz component -n motrail.parcels --device openvino --create`

    Parameters
    ----------
    bundle
        A model bundle, or a name such as yolox-s.
    output
        Folder to make.
    name
        Of the component, as in motrail.parcels.
    version
        Of the component; AWS takes each but once.
    image
        URI of the serving image. [default: that of the stack]
    device
        What the network runs on there: cpu or cuda with onnxruntime, or openvino.
    architecture
        Of the devices; may be given twice.
    port
        On which the server answers, on the device alone.
    create
        Upload the files and make the component known to AWS.
    dry_run
        Print the request of --create as JSON and send nothing.
    config
        TOML file with a section [sagemaker]; flags win over it.
    as_json
        Print what was made as one JSON document.
    """
    from motrail.sagemaker import edge
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.requests.edge import Component, create_component, recipe

    settings = sagemaker_settings(sagemaker, config)
    found = find_model(bundle)
    with open_cloud(settings, rehearse) as cloud:
        project = find_project(cloud, settings)
        about = found.spec.architecture if found.spec is not None else ""
        component = Component(
            name,
            version,
            image or project.serving_image,
            edge.artifact_uris(project, name, version),
            device,
            tuple(dict.fromkeys(architecture)),
            port,
            f"Multi-object tracking by motrail: {about}",
        )
        edge.check(component)
        if dry_run:
            request = create_component(component, project.tags(component=name))
            shown = request.parameters | {"inlineRecipe": recipe(component)}
            print_json(request._replace(parameters=shown)._asdict())
            return 0
        files = edge.write_component(component, found, output)
        arn = edge.create(cloud, project, component, files, say) if create else None
    if as_json:
        print_json({"files": [str(path) for path in files], "arn": arn})
        return 0
    for path in files:
        print(f"written {path}")
    if arn is not None:
        print(f"created {name} {version}")
    elif not create:
        say("not known to AWS yet: give --create, or upload the artifacts to where the recipe says")
    return 0
