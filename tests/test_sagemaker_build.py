"""`motrail sagemaker build`: commands that are right, and images that run where they are put."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest

from commands import Call, caller
from motrail.errors import ConfigError
from motrail.sagemaker import aws, build, cuda
from motrail.sagemaker.build import Command, Images, commands, prebuilt_image, pushed, run
from motrail.sagemaker.cuda import MACHINE_IMAGES, machine_image, read_cuda
from motrail.sagemaker.request import CloudError
from sagemaker_fake import ACCOUNT, OUTPUTS, PROJECT, Fake

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
URIS: dict[build.Part, str] = {"train": PROJECT.training_image, "serve": PROJECT.serving_image}
AWS_REGISTRY = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    for part in ("train", "serve"):
        (tmp_path / "containers" / part).mkdir(parents=True)
        (tmp_path / "containers" / part / "Dockerfile").touch()
    return tmp_path


def images(**changes: Any) -> Images:
    both: tuple[build.Part, ...] = ("train", "serve")
    return Images(both, "slim", False, Path("src"), "docker")._replace(**changes)


# CUDA and machine images -------------------------------------------------------------------------


def test_the_table_is_that_of_the_service_model() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    names = model.shape_for("ProductionVariantInferenceAmiVersion").enum
    assert [item.name for item in MACHINE_IMAGES] == [name for name in names if "-gpu-" in name]
    text = model.shape_for("ProductionVariant").members["InferenceAmiVersion"].documentation
    for item in MACHINE_IMAGES:
        about = text[text.index(f">{item.name}<") :].partition("</dd>")[0]
        assert f"driver version: {item.driver}" in about
        assert f"CUDA version: {item.cuda[0]}.{item.cuda[1]}" in about


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("12.4", "al2-ami-sagemaker-inference-gpu-3-1"),
        ("13.0", "al2023-ami-sagemaker-inference-gpu-4-1"),
        ("12.2", "al2-ami-sagemaker-inference-gpu-2-1"),
        ("12.4.1", "al2-ami-sagemaker-inference-gpu-3-1"),
        ("12.3", "al2-ami-sagemaker-inference-gpu-3-1"),
    ],
)
def test_the_machine_image_for_a_cuda(version: str, name: str) -> None:
    assert machine_image(read_cuda(version)).name == name


def test_pairs_that_do_not_run() -> None:
    with pytest.raises(
        ConfigError, match=r"CUDA 13\.3: no machine image .* they have 12\.2, 12\.4, "
    ):
        machine_image((13, 3))
    with pytest.raises(ConfigError, match=r"CUDA 11\.8: no machine image"):
        machine_image((11, 8))
    with pytest.raises(ConfigError, match=r"CUDA version: expected one as in 12\.4, found 'cu124'"):
        read_cuda("cu124")


def test_our_own_serving_image_has_one() -> None:
    assert machine_image().name == "al2023-ami-sagemaker-inference-gpu-4-1"
    version = f"{cuda.SERVING_CUDA[0]}.{cuda.SERVING_CUDA[1]}"
    assert f"cuda:{version}." in build.GPU_ARGUMENTS["BASE"]
    assert build.GPU_ARGUMENTS["CUDA"] == version


def test_dockerfiles_know_what_they_are_told() -> None:
    told: dict[build.Part, dict[str, str]] = {
        "train": build.build_arguments("train", prebuilt_image("eu-west-1"), gpu=False),
        "serve": build.build_arguments("serve", None, gpu=True),
    }
    for part, arguments in told.items():
        text = (ROOT / "containers" / part / "Dockerfile").read_text()
        assert arguments
        assert set(arguments) <= set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    assert f"cu{build.PREBUILT_CUDA.replace('.', '')}-" in build.PREBUILT_IMAGE


# Commands ----------------------------------------------------------------------------------------


def test_both_images_are_built_and_pushed() -> None:
    login = ("docker", "login", "--username", "AWS", "--password-stdin", REGISTRY)
    make = ("docker", "build", "--platform", "linux/amd64", "--file")
    assert commands(images(), URIS, "eu-west-1") == [
        Command(login, login=True),
        Command((*make, "src/containers/train/Dockerfile", "--tag", URIS["train"], "src")),
        Command(("docker", "push", URIS["train"])),
        Command((*make, "src/containers/serve/Dockerfile", "--tag", URIS["serve"], "src")),
        Command(("docker", "push", URIS["serve"])),
    ]


def test_aws_own_image_needs_its_registry_too() -> None:
    steps = commands(images(base="prebuilt", parts=("train",), tool="podman"), URIS, "eu-west-1")
    assert [step.words[-1] for step in steps if step.login] == [REGISTRY, AWS_REGISTRY]
    base = f"BASE={AWS_REGISTRY}/pytorch:2.14-cu133-amzn2023-sagemaker"
    assert base in steps[2].words
    assert {step.words[0] for step in steps} == {"podman"}
    # It is for training alone: there is none for serving.
    serving = commands(images(base="prebuilt", parts=("serve",)), URIS, "eu-west-1")
    assert AWS_REGISTRY not in str(serving)


def test_the_serving_image_for_gpus_is_told_so() -> None:
    (step,) = [s for s in commands(images(parts=("serve",), gpu=True), URIS, "eu-west-1")
               if s.words[1] == "build"]  # fmt: skip
    told = [after for word, after in zip(step.words, step.words[1:], strict=False)
            if word == "--build-arg"]  # fmt: skip
    assert told == [f"{name}={value}" for name, value in build.GPU_ARGUMENTS.items()]


def test_regions_have_aws_images_in_different_accounts() -> None:
    assert prebuilt_image("us-east-1").startswith("763104351884.dkr.ecr.us-east-1.")
    assert prebuilt_image("il-central-1").startswith("780543022126.dkr.ecr.il-central-1.")
    with pytest.raises(
        ConfigError, match="which account keeps AWS's images in xx-north-9; use --base"
    ):
        prebuilt_image("xx-north-9")


def test_steps_are_carried_out_and_the_password_is_shown_nowhere() -> None:
    cloud = Fake()
    token = base64.b64encode(b"AWS:s3cret").decode()
    cloud.plant("GetAuthorizationToken", {"authorizationData": [{"authorizationToken": token}]})
    ran: list[tuple[Sequence[str], Any]] = []
    told: list[str] = []

    def execute(words: Sequence[str], **options: Any) -> Any:
        ran.append((words, options["input"]))
        return subprocess.CompletedProcess(words, 0)

    run(cloud, commands(images(), URIS, "eu-west-1"), told.append, execute)
    assert [words[1] for words, _ in ran] == ["login", "build", "push", "build", "push"]
    assert [given for _, given in ran] == ["s3cret", None, None, None, None]
    assert "s3cret" not in " ".join(told)
    assert all("s3cret" not in " ".join(words) for words, _ in ran)


def test_a_step_that_fails_is_the_last() -> None:
    steps = [Command(("sh", "-c", "exit 3")), Command(("sh", "-c", "exit 0"))]
    told: list[str] = []
    with pytest.raises(CloudError, match="sh -c ended with 3; see above"):
        run(Fake(), steps, told.append)
    assert len(told) == 1
    with pytest.raises(ConfigError, match="no-such-tool: expected it to be installed"):
        run(Fake(), [Command(("no-such-tool", "push"))], told.append)


def test_what_was_pushed() -> None:
    cloud = Fake()
    size = {"imageDetails": [{"imageSizeInBytes": 123}]}
    cloud.plant("DescribeImages", size, CloudError("none", code="ImageNotFoundException"))
    assert pushed(cloud, PROJECT) == {"train": 123}
    assert cloud.sent("DescribeImages")[0] == {
        "repositoryName": "motrail/train", "imageIds": [{"imageTag": "0.1.0"}],
    }  # fmt: skip
    cloud.plant("DescribeImages", CloudError("denied", code="AccessDeniedException"))
    with pytest.raises(CloudError, match="denied"):
        pushed(cloud, PROJECT)


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "sagemaker", "build")


@pytest.mark.parametrize("tool", ["docker", "podman", "buildah"])
def test_the_printed_commands_are_run_by_a_shell_as_they_are_meant(
    call: Call, checkout: Path, tmp_path: Path, tool: str
) -> None:
    result = call("--source", checkout, "--region", "eu-west-1", "--tool", tool)
    assert result.code == 0, result.err
    assert ACCOUNT not in result.out
    # Programs that note how they were called, and what came on standard input.
    programs = tmp_path / "bin"
    programs.mkdir()
    log = tmp_path / "log"
    (programs / "aws").write_text(
        f'#!/bin/sh\ncase $1 in sts) echo {ACCOUNT};; ecr) echo "password of $4";; esac\n'
    )
    (programs / tool).write_text(
        f'#!/bin/sh\necho "$1 $(for last; do :; done; echo $last)" >> {log}\n'
        f'if [ "$1" = login ]; then cat >> {log}; fi\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    subprocess.run(["sh", "-e"], input=result.out, text=True, env=environment, check=True)
    assert log.read_text().splitlines() == [
        f"login {REGISTRY}",
        "password of eu-west-1",
        f"build {checkout}",
        f"push {REGISTRY}/motrail/train:0.1.0",
        f"build {checkout}",
        f"push {REGISTRY}/motrail/serve:0.1.0",
    ]


def test_the_machine_image_is_told(call: Call, checkout: Path) -> None:
    words = ("--source", checkout, "--region", "eu-west-1")
    assert (
        "GPUs; endpoints need the machine image al2023-ami-sagemaker-inference-gpu-4-1 (CUDA 13.0)"
        in (call(*words).err)
    )
    for cpu in (("--cpu",), ("--serving-instance", "ml.c5.xlarge")):
        result = call(*words, *cpu)
        assert "is for CPUs" in result.err
        assert "--build-arg" not in result.out
    assert "the image for serving" not in call(*words, "--part", "train").err


def test_somewhere_that_is_no_checkout(call: Call, tmp_path: Path) -> None:
    result = call("--source", tmp_path, "--region", "eu-west-1")
    assert result.code == 2
    assert (
        "expected a checkout of motrail, found no pyproject.toml, containers/train/Dockerfile, "
        "containers/serve/Dockerfile; run this in one or name it with --source"
    ) in " ".join(result.err.split())


def test_without_a_tool_nothing_is_run(
    call: Call, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    result = call("--source", checkout, "--region", "eu-west-1", "--run")
    assert result.code == 2
    assert "expected one of docker, podman, buildah to build images with, found none" in result.err
    assert call("--source", checkout, "--region", "eu-west-1").code == 0  # another may run them


def test_running_tells_what_was_pushed(
    call: Call, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Fake()
    about = {"StackId": "arn:…", "StackStatus": "CREATE_COMPLETE", "Outputs": OUTPUTS}
    cloud.plant("DescribeStacks", {"Stacks": [about]})
    cloud.plant("DescribeImages", {"imageDetails": [{"imageSizeInBytes": 234_000_000}]})
    monkeypatch.setattr(aws, "Aws", lambda **_options: cloud)
    monkeypatch.setattr(build, "find_tool", lambda _wanted=None: "docker")
    monkeypatch.setattr(build, "run", lambda _cloud, steps, tell: tell(" ".join(steps[0].words)))
    result = call("--source", checkout, "--run")
    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        "train  motrail/train:0.1.0  234 MB",
        "serve  motrail/serve:0.1.0  234 MB",
    ]
    assert ACCOUNT not in result.err
