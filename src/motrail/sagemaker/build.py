"""The commands that build our images and push them to the stack's repositories."""

from __future__ import annotations

import base64
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from motrail.errors import ConfigError
from motrail.sagemaker.cuda import SERVING_CUDA, MachineImage, machine_image
from motrail.sagemaker.request import CloudError, Request
from motrail.sagemaker.requests.admin import describe_image
from motrail.sagemaker.requests.instances import has_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud

Base = Literal["slim", "prebuilt"]
Part = Literal["train", "serve"]
Tool = Literal["docker", "podman", "buildah"]
TOOLS: tuple[Tool, ...] = ("docker", "podman", "buildah")
"""In the order in which they are looked for."""

PREBUILT_IMAGE = "pytorch:2.14-cu133-amzn2023-sagemaker"
"""AWS's newest image for training with PyTorch; there is none for inference after 2.6."""
PREBUILT_CUDA = "13.3"
"""What its PyTorch is built for; its name has it as cu133."""
GPU_ARGUMENTS = {
    "BASE": f"nvidia/cuda:{SERVING_CUDA[0]}.{SERVING_CUDA[1]}.1-cudnn-runtime-ubuntu24.04",
    "DEVICE": "cuda",
    "CUDA": f"{SERVING_CUDA[0]}.{SERVING_CUDA[1]}",
}
"""What makes the serving image one for GPUs."""
PREBUILT_ACCOUNT = "763104351884"
_OTHER_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ca-west-1": "204538143572",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
}
"""Regions that have to be switched on have accounts of their own (AWS's list of its Deep Learning
Containers)."""
_USUAL_REGIONS = frozenset({
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
    "ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3",
    "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
})  # fmt: skip
_PLATFORM = "linux/amd64"
REGISTRY = "$REGISTRY"
"""What printed commands have in place of the account's registry."""


class Command(NamedTuple):
    """One step.

    Attributes:
        words: The program and its arguments.
        login: Whether the registry's password goes to its standard input.
    """

    words: tuple[str, ...]
    login: bool = False


class Images(NamedTuple):
    """What is to be built.

    Attributes:
        parts: `train`, `serve` or both.
        base: What the training image starts from: `slim` is our own, `prebuilt` is AWS's.
        gpu: Whether the serving image is for GPUs.
        source: A checkout of motrail.
        tool: What builds.
    """

    parts: tuple[Part, ...]
    base: Base
    gpu: bool
    source: Path
    tool: Tool


def prebuilt_image(region: str) -> str:
    """AWS's own image for training, in the registry of the region.

    Raises:
        ConfigError: It is not known which account has it there.
    """
    account = PREBUILT_ACCOUNT if region in _USUAL_REGIONS else _OTHER_ACCOUNTS.get(region)
    if account is None:
        raise ConfigError(
            f"--base prebuilt: it is not known which account keeps AWS's images in {region}; use "
            "--base slim"
        )
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{PREBUILT_IMAGE}"


def find_tool(wanted: Tool | None = None) -> Tool:
    """The program that builds images here.

    Raises:
        ConfigError: There is none, or not the one that is wanted.
    """
    for tool in (wanted,) if wanted is not None else TOOLS:
        if shutil.which(tool):
            return tool
    names = wanted or f"one of {', '.join(TOOLS)}"
    raise ConfigError(f"expected {names} to build images with, found none; install it")


def check_source(folder: Path, parts: Sequence[Part]) -> None:
    """See that a folder has what images are built from.

    Raises:
        ConfigError: It has not.
    """
    needed = [Path("pyproject.toml"), *(Path("containers", part, "Dockerfile") for part in parts)]
    missing = [path.as_posix() for path in needed if not (folder / path).is_file()]
    if missing:
        raise ConfigError(
            f"{folder}: expected a checkout of motrail, found no {', '.join(missing)}; run this in "
            "one or name it with --source"
        )


def commands(images: Images, uris: dict[Part, str], region: str) -> list[Command]:
    """All steps, in order: log in, build, push.

    Args:
        images: What.
        uris: The image of each part, with registry and tag.
        region: Where.

    Raises:
        ConfigError: AWS's image is wanted and not known for the region.
    """
    base = prebuilt_image(region) if images.base == "prebuilt" and "train" in images.parts else None
    registries = [uris[part].partition("/")[0] for part in images.parts]
    registries += [base.partition("/")[0]] if base is not None else []
    steps = [_login(images.tool, registry) for registry in dict.fromkeys(registries)]
    for part in images.parts:
        steps.append(_build(images, part, uris[part], base))
        steps.append(Command((images.tool, "push", uris[part])))
    return steps


def _login(tool: Tool, registry: str) -> Command:
    words = (tool, "login", "--username", "AWS", "--password-stdin", registry)
    return Command(words, login=True)


def _build(images: Images, part: Part, uri: str, base: str | None) -> Command:
    folder = images.source.as_posix()
    words = [images.tool, "build", "--platform", _PLATFORM]
    words += ["--file", f"{folder}/containers/{part}/Dockerfile"]
    for name, value in build_arguments(part, base, gpu=images.gpu).items():
        words += ["--build-arg", f"{name}={value}"]
    return Command((*words, "--tag", uri, folder))


def build_arguments(part: Part, base: str | None, *, gpu: bool) -> dict[str, str]:
    """What a Dockerfile is told; nothing where it is as the Dockerfile itself says.

    Args:
        part: Which one.
        base: AWS's image, if training starts from it.
        gpu: Whether the serving image is for GPUs.
    """
    if part == "train":
        return {} if base is None else {"BASE": base, "CUDA": PREBUILT_CUDA}
    return GPU_ARGUMENTS if gpu else {}


def runs_on(gpu: bool) -> MachineImage | None:
    """The machine image that an endpoint with our serving image has to ask for; None for CPUs.

    Raises:
        ConfigError: There is none for its CUDA.
    """
    return machine_image(SERVING_CUDA) if gpu else None


def wants_gpu(instance: str) -> bool:
    """Whether the serving image for an instance type is the one for GPUs."""
    return has_gpu(instance)


def as_shell(steps: Sequence[Command], region: str) -> str:
    """The steps as text for a shell, which asks for the account and the password by itself."""
    lines = [
        "ACCOUNT=$(aws sts get-caller-identity --query Account --output text)",
        f"REGISTRY=$ACCOUNT.dkr.ecr.{region}.amazonaws.com",
    ]
    for step in steps:
        text = " ".join(_quoted(word) for word in step.words)
        before = f"aws ecr get-login-password --region {region} | " if step.login else ""
        lines.append(f"{before}{text}")
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    if word.startswith(REGISTRY) and re.fullmatch(r"[A-Za-z0-9./:_$-]+", word):
        return f'"{word}"'
    return shlex.quote(word)


def run(
    cloud: Cloud,
    steps: Sequence[Command],
    tell: Callable[[str], None],
    execute: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run,
) -> None:
    """Carry the steps out; the password goes from AWS to the tool and is shown nowhere.

    Args:
        cloud: Who gives the password.
        steps: From `commands`.
        tell: Hears of each step.
        execute: Runs a program.

    Raises:
        ConfigError: A program is not installed.
        CloudError: AWS gives no password, or a step failed.
    """
    for step in steps:
        tell(shlex.join(step.words))
        secret = _password(cloud) if step.login else None
        try:
            ended = execute(step.words, input=secret, text=True, check=False)
        except FileNotFoundError as error:
            raise ConfigError(
                f"{step.words[0]}: expected it to be installed, found it not"
            ) from error
        if ended.returncode:
            raise CloudError(
                f"{shlex.join(step.words[:2])} ended with {ended.returncode}; see above",
                code="BuildFailed",
            )


def _password(cloud: Cloud) -> str:
    answer = cloud.call(Request("ecr", "GetAuthorizationToken", {}))
    token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    return token.partition(":")[2]


def pushed(cloud: Cloud, project: Project) -> dict[Part, int | None]:
    """Which images of this version are in the stack's repositories, and their size in bytes.

    Raises:
        CloudError: The registry refuses to tell.
    """
    found: dict[Part, int | None] = {}
    parts: tuple[tuple[Part, str], ...] = (
        ("train", project.training_image),
        ("serve", project.serving_image),
    )
    for part, uri in parts:
        repository, _, tag = uri.partition("/")[2].rpartition(":")
        try:
            details = cloud.call(describe_image(repository, tag))["imageDetails"]
        except CloudError as error:
            if error.code != "ImageNotFoundException":
                raise
            continue
        found[part] = details[0].get("imageSizeInBytes") if details else None
    return found
