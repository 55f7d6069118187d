"""`motrail sagemaker build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import motrail
from motrail.cli.sagemaker.cloud import (
    BuildFlags,
    Config,
    Rehearse,
    open_cloud,
    sagemaker_settings,
)

if TYPE_CHECKING:
    from motrail.config import SageMakerSettings
    from motrail.sagemaker.build import Images, Part


def build_command(
    *,
    part: Literal["train", "serve", "both"] = "both",
    base: Literal["slim", "prebuilt"] = "slim",
    gpu: Annotated[bool | None, Parameter(negative="--cpu")] = None,
    source: Path = Path(),
    tool: Literal["docker", "podman", "buildah"] | None = None,
    run: Annotated[bool, Parameter(negative="")] = False,
    config: Config = None,
    rehearse: Rehearse = None,
    sagemaker: BuildFlags = None,
) -> int:
    """Print the commands that build the images and push them to the stack's repositories.

    They are made for a shell with the AWS CLI: `motrail sagemaker build | sh`. With --run they are
    carried out here, without it. The images are for linux/amd64 and carry motrail's version.

    For example:

    - `motrail sagemaker build`
    - `motrail sagemaker build --part train --base prebuilt --run`
    - `motrail sagemaker build --part serve --cpu --tool buildah`

    Parameters
    ----------
    part
        The image for training, the one for serving and batches, or both.
    base
        What training starts from: slim is our own small image, prebuilt extends AWS's.
    gpu
        Whether the image for serving is for GPUs. [default: as --serving-instance has one or not]
    source
        A checkout of motrail.
    tool
        What builds: docker, podman or buildah. [default: the first of them that is installed]
    run
        Carry the commands out, in place of printing them.
    config
        TOML file with a section [sagemaker]; flags win over it.
    """
    settings = sagemaker_settings(sagemaker, config)
    from motrail.sagemaker.build import Images, check_source, find_tool, wants_gpu

    parts: tuple[Part, ...] = ("train", "serve") if part == "both" else (part,)
    check_source(source, parts)
    chosen = find_tool(tool) if run else tool or _usual()
    with_gpu = wants_gpu(settings.serving_instance) if gpu is None else gpu
    images = Images(parts, base, with_gpu, source, chosen)
    code = _run(images, settings, rehearse) if run else _print(images, settings, rehearse)
    _note(images)
    return code


def _usual() -> Literal["docker", "podman", "buildah"]:
    from motrail.errors import ConfigError
    from motrail.sagemaker.build import find_tool

    try:
        return find_tool()
    except ConfigError:  # it may be another machine that builds
        return "docker"


def _print(images: Images, settings: SageMakerSettings, rehearse: Path | None) -> int:
    from motrail.sagemaker.build import REGISTRY, as_shell, commands

    region = settings.region
    if region is None:
        with open_cloud(settings, rehearse) as cloud:
            region = cloud.region
    uris: dict[Part, str] = {
        part: f"{REGISTRY}/{settings.stack}/{part}:{motrail.__version__}" for part in images.parts
    }
    print(as_shell(commands(images, uris, region), region), end="")
    return 0


def _run(images: Images, settings: SageMakerSettings, rehearse: Path | None) -> int:
    from motrail.sagemaker.build import commands, pushed, run
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.redact import redact

    with open_cloud(settings, rehearse) as cloud:
        project = find_project(cloud, settings)
        uris: dict[Part, str] = {"train": project.training_image, "serve": project.serving_image}
        steps = commands(images, uris, cloud.region)
        if cloud.rehearsal:
            print("a rehearsal has no registry: nothing is built or pushed", file=sys.stderr)
            for step in steps:
                print(redact(" ".join(step.words)))
            return 0
        run(cloud, steps, lambda text: print(redact(text), file=sys.stderr, flush=True))
        for part, size in pushed(cloud, project).items():
            print(f"{part:<6} {settings.stack}/{part}:{motrail.__version__}  {_size(size)}")
    return 0


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:,.0f} MB"


def _note(images: Images) -> None:
    from motrail.sagemaker.build import runs_on

    if "serve" in images.parts:
        found = runs_on(images.gpu)
        text = "CPUs" if found is None else (
            f"GPUs; endpoints need the machine image {found.name} (CUDA "
            f"{found.cuda[0]}.{found.cuda[1]}), and deploy asks for it"
        )  # fmt: skip
        print(f"note: the image for serving is for {text}", file=sys.stderr)
