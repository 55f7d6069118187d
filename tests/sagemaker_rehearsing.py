"""Requests and waiting for the tests of the rehearsal."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.request import Request
from sagemaker_shapes import CheckedRehearsal

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.sagemaker.request import Cloud

BUCKET = "motrail-rehearsed"
ROLE = "arn:aws:iam::123456789012:role/motrail-Role"
TRAIN_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/motrail/train:0.1.0"
SERVE_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/motrail/serve:0.1.0"
STANDIN = (sys.executable, "-I", "-S", str(Path(__file__).with_name("sagemaker_standin.py")))
OVER = ("Completed", "Failed", "Stopped")


def rehearse(folder: Path, **options: Any) -> CheckedRehearsal:
    """A rehearsal with the stand-in's containers, and a bucket with a small dataset."""
    cloud = CheckedRehearsal(folder, entry=STANDIN, **{"grace": 10.0, **options})
    if BUCKET not in cloud.storage.buckets:
        location = {"LocationConstraint": "eu-west-1"}
        ask(cloud, "s3", "CreateBucket", Bucket=BUCKET, CreateBucketConfiguration=location)
        for key in ("datasets/a/train/1.txt", "datasets/a/val/2.txt", "datasets/ab/3.txt"):
            put(cloud, key, key.encode())
    return cloud


def ask(cloud: Cloud, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
    return cloud.call(Request(service, operation, parameters))


def sagemaker(cloud: Cloud, operation: str, **parameters: Any) -> dict[str, Any]:
    return ask(cloud, "sagemaker", operation, **parameters)


def put(cloud: Cloud, key: str, body: bytes) -> str:
    ask(cloud, "s3", "PutObject", Bucket=BUCKET, Key=key, Body=body)
    return f"s3://{BUCKET}/{key}"


def get(cloud: Cloud, key: str) -> bytes:
    body: bytes = ask(cloud, "s3", "GetObject", Bucket=BUCKET, Key=key)["Body"]
    return body


def keys(cloud: Cloud, prefix: str = "") -> list[str]:
    start = f"s3://{BUCKET}/"
    return [item.uri.removeprefix(start) for item in cloud.objects(start + prefix)]


def wait(cloud: Cloud, look: Callable[[], dict[str, Any]], done: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 200
    while not done(answer := look()):
        assert time.monotonic() < deadline, answer
        cloud.sleep(1)
    return answer


def source(uri: str, **more: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, **more}}


def training_job(name: str, **more: Any) -> dict[str, Any]:
    given = {
        "TrainingJobName": name,
        "HyperParameters": {"epochs": "2"},
        "AlgorithmSpecification": {
            "TrainingImage": TRAIN_IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "validation:AP", "Regex": r"motrail: epoch=[0-9]+ .*AP=([0-9.]+)"},
                {"Name": "train:loss", "Regex": r"motrail: epoch=[0-9]+ .*loss=([0-9.]+)"},
            ],
        },
        "RoleArn": ROLE,
        "InputDataConfig": [
            {"ChannelName": "dataset", "DataSource": source(f"s3://{BUCKET}/datasets/a/")}
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/training"},
        "ResourceConfig": {
            "InstanceType": "ml.g5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Tags": [{"Key": "motrail:project", "Value": "motrail"}],
    }
    return given | more


def spot(name: str) -> dict[str, Any]:
    return {
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/training/{name}/checkpoints"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
    }


def trained(cloud: Cloud, name: str) -> dict[str, Any]:
    """The training job's description when it is over."""
    found: dict[str, Any] = wait(
        cloud,
        lambda: sagemaker(cloud, "DescribeTrainingJob", TrainingJobName=name),
        lambda answer: answer["TrainingJobStatus"] in OVER,
    )
    return found


def train(cloud: Cloud, name: str, **more: Any) -> dict[str, Any]:
    sagemaker(cloud, "CreateTrainingJob", **training_job(name, **more))
    return trained(cloud, name)


def steps(job: dict[str, Any]) -> list[str]:
    return [step["Status"] for step in job["SecondaryStatusTransitions"]]


def log_lines(cloud: Cloud, group: str, prefix: str) -> list[str]:
    answer = ask(cloud, "logs", "FilterLogEvents", logGroupName=group, logStreamNamePrefix=prefix)
    return [event["message"] for event in answer["events"]]


def members(archive: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            found[member.name] = b"" if file is None else file.read()
    return found


def make_model(cloud: Cloud, name: str, **environment: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        info = tarfile.TarInfo("name")
        info.size = len(name)
        tar.addfile(info, io.BytesIO(name.encode()))
    uri = put(cloud, f"models/{name}/model.tar.gz", content.getvalue())
    container = {"Image": SERVE_IMAGE, "ModelDataUrl": uri, "Environment": environment}
    sagemaker(
        cloud, "CreateModel", ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE
    )


def variant(model: str, **more: Any) -> dict[str, Any]:
    given = {
        "VariantName": "main",
        "ModelName": model,
        "InstanceType": "ml.c5.xlarge",
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
    }
    return given | more


def make_config(cloud: Cloud, name: str, *variants: dict[str, Any], **more: Any) -> None:
    sagemaker(
        cloud, "CreateEndpointConfig", EndpointConfigName=name,
        ProductionVariants=list(variants), **more,
    )  # fmt: skip


def settled(cloud: Cloud, name: str) -> dict[str, Any]:
    found: dict[str, Any] = wait(
        cloud,
        lambda: sagemaker(cloud, "DescribeEndpoint", EndpointName=name),
        lambda answer: answer["EndpointStatus"] in {"InService", "Failed"},
    )
    return found


def deploy(cloud: Cloud, name: str, *variants: dict[str, Any], **more: Any) -> dict[str, Any]:
    make_config(cloud, name, *variants, **more)
    sagemaker(cloud, "CreateEndpoint", EndpointName=name, EndpointConfigName=name)
    return settled(cloud, name)


def invoke(cloud: Cloud, name: str, body: bytes = b"picture", **more: Any) -> dict[str, Any]:
    return ask(cloud, "sagemaker-runtime", "InvokeEndpoint", EndpointName=name, Body=body, **more)


def told(answer: dict[str, Any]) -> Any:
    return json.loads(answer["Body"])
