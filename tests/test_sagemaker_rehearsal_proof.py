"""The rehearsal with the real containers: train through an interruption, serve, process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import pytest

from models import spots_clip, spots_picture, write_archive, write_bundle
from motrail.sagemaker.datasets import upload_files
from sagemaker_container import TINY, squares
from sagemaker_jobs import silent
from sagemaker_rehearsing import (
    BUCKET,
    SERVE_IMAGE,
    ask,
    deploy,
    get,
    invoke,
    keys,
    log_lines,
    members,
    sagemaker,
    source,
    spot,
    steps,
    train,
    variant,
)
from sagemaker_shapes import CheckedRehearsal
from test_sagemaker_rehearsal_endpoints import deploy_later, messages
from test_sagemaker_rehearsal_jobs import processed, processing_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.proof


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CheckedRehearsal]:
    with CheckedRehearsal(tmp_path / "cloud", environment={"OMP_NUM_THREADS": "1"}) as one:
        location = {"LocationConstraint": "eu-west-1"}
        ask(one, "s3", "CreateBucket", Bucket=BUCKET, CreateBucketConfiguration=location)
        yield one


def with_model(cloud: CheckedRehearsal, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    files = {path.name: path.read_bytes() for path in bundle.iterdir()}
    packed = write_archive(tmp_path / "model.tar.gz", files)
    cloud.upload(packed, f"s3://{BUCKET}/models/spots/model.tar.gz")
    container = {"Image": SERVE_IMAGE, "ModelDataUrl": f"s3://{BUCKET}/models/spots/model.tar.gz"}
    role = "arn:aws:iam::123456789012:role/motrail-ServingRole"
    sagemaker(
        cloud, "CreateModel", ModelName="nano", PrimaryContainer=container, ExecutionRoleArn=role
    )


def test_training_goes_on_after_an_interruption(cloud: CheckedRehearsal, tmp_path: Path) -> None:
    folder, place = squares(tmp_path), f"s3://{BUCKET}/datasets/squares"
    files = [path for path in folder.rglob("*") if path.is_file()]
    named = {f"{place}/{path.relative_to(folder).as_posix()}": path for path in files}
    upload_files(cloud, named, silent)
    cloud.interrupt_training(after_epochs=1)
    data = source(f"s3://{BUCKET}/datasets/squares/")
    job = train(
        cloud,
        "squares",
        HyperParameters=TINY,
        InputDataConfig=[{"ChannelName": "dataset", "DataSource": data}],
        **spot("squares"),
    )
    lines = log_lines(cloud, "/aws/sagemaker/TrainingJobs", "squares/")
    assert job["TrainingJobStatus"] == "Completed", (job, lines)
    assert steps(job).count("Interrupted") == 1
    epochs = [line.split()[1] for line in lines if line.startswith("motrail: epoch=")]
    assert epochs.count("epoch=1") == 1, epochs  # it did not begin anew
    assert list(dict.fromkeys(epochs)) == ["epoch=1", "epoch=2", "epoch=3"]
    bundle = members(get(cloud, "training/squares/output/model.tar.gz"))
    assert {"model.onnx", "model.json"} <= bundle.keys()
    assert json.loads(bundle["model.json"])["classes"] == ["square"]
    assert {each["MetricName"] for each in job["FinalMetricDataList"]} >= {"validation:AP"}


def test_an_endpoint_answers_and_tracks(cloud: CheckedRehearsal, tmp_path: Path) -> None:
    with_model(cloud, tmp_path)
    found = deploy(cloud, "live", variant("nano"))
    assert found["EndpointStatus"] == "InService", found
    pictures = [
        cv2.imencode(".png", spots_picture([16 + 2 * step, 40 + 2 * step]))[1].tobytes()
        for step in range(4)
    ]
    answer = json.loads(invoke(cloud, "live", pictures[0], ContentType="image/png")["Body"])
    assert {each["class"] for each in answer["detections"]} == {"spot"}
    kind = {"ContentType": "image/png"}
    opened = invoke(cloud, "live", pictures[0], SessionId="NEW_SESSION", **kind)
    session, _, expires = opened["NewSessionId"].partition("; ")
    assert expires.startswith("Expires=")
    answers = [opened] + [
        invoke(cloud, "live", picture, SessionId=session, **kind) for picture in pictures[1:]
    ]
    ids = [[track["id"] for track in json.loads(each["Body"])["tracks"]] for each in answers]
    assert ids[-1]
    assert set(ids[-1]) <= set(ids[0]), ids  # nobody got a new number


def test_a_video_through_s3(cloud: CheckedRehearsal, tmp_path: Path) -> None:
    with_model(cloud, tmp_path)
    deploy_later(cloud)
    clip = spots_clip(tmp_path / "clip.mp4")
    uri = f"s3://{BUCKET}/async/later/input/clip.mp4"
    cloud.upload(clip, uri)
    ask(
        cloud, "sagemaker-runtime", "InvokeEndpointAsync",
        EndpointName="later", InputLocation=uri, ContentType="video/mp4",
    )  # fmt: skip
    ((topic, message),) = messages(cloud, 1)
    assert topic == "SuccessTopic", message
    (key,) = keys(cloud, "async/later/output")
    assert get(cloud, key)


def test_videos_on_three_instances(cloud: CheckedRehearsal, tmp_path: Path) -> None:
    with_model(cloud, tmp_path)
    for index in range(5):
        clip = spots_clip(tmp_path / f"clip-{index}.mp4")
        cloud.upload(clip, f"s3://{BUCKET}/batch/b/input/clip-{index}.mp4")
    given = processing_job("batch", ["videos"], 3)
    model = {
        "InputName": "model",
        "S3Input": {
            "S3Uri": f"s3://{BUCKET}/models/spots/model.tar.gz",
            "LocalPath": "/opt/ml/processing/input/model",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }
    given["ProcessingInputs"].append(model)
    job = processed(cloud, given, videos=0)
    lines = log_lines(cloud, "/aws/sagemaker/ProcessingJobs", "batch/")
    assert job["ProcessingJobStatus"] == "Completed", (job, lines)
    found = {key.rpartition("/")[2] for key in keys(cloud, "batch/b/tracks")}
    assert {f"clip-{index}.txt" for index in range(5)} <= found, found
    assert len([name for name in found if name.startswith("batch-algo-")]) == 3, found
