"""The rehearsal's endpoints of all three kinds, with a stand-in behind them."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from motrail.errors import ConfigError
from motrail.sagemaker.request import CloudError
from sagemaker_rehearsing import (
    BUCKET,
    ask,
    deploy,
    get,
    invoke,
    keys,
    log_lines,
    make_config,
    make_model,
    put,
    rehearse,
    sagemaker,
    settled,
    told,
    variant,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sagemaker_shapes import CheckedRehearsal

ACCOUNT = "123456789012"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CheckedRehearsal]:
    with rehearse(tmp_path / "cloud") as one:
        make_model(one, "nano")
        yield one


def refused(code: str, what: Callable[[], object]) -> str:
    with pytest.raises(CloudError) as caught:
        what()
    assert caught.value.code == code
    return str(caught.value)


def arn(kind: str, name: str) -> str:
    """As errors show it, without the account."""
    return f"arn:aws:sagemaker:eu-west-1:[account]:{kind}/{name}"


class TestEndpoint:
    def test_from_creating_to_deleted(self, cloud: CheckedRehearsal) -> None:
        make_config(cloud, "live", variant("nano"))
        sagemaker(cloud, "CreateEndpoint", EndpointName="live", EndpointConfigName="live")
        created = sagemaker(cloud, "DescribeEndpoint", EndpointName="live")
        assert created["EndpointStatus"] == "Creating"
        message = refused(
            "ValidationException",
            lambda: sagemaker(cloud, "DeleteEndpoint", EndpointName="live"),
        )
        assert f'Cannot update in-progress endpoint "{arn("endpoint", "live")}".' in message
        found = settled(cloud, "live")
        assert found["EndpointStatus"] == "InService"
        assert found["ProductionVariants"] == [
            {
                "VariantName": "main",
                "CurrentWeight": 1.0,
                "DesiredWeight": 1.0,
                "CurrentInstanceCount": 1,
                "DesiredInstanceCount": 1,
            }
        ]
        answer = invoke(cloud, "live", ContentType="image/jpeg")
        assert answer["InvokedProductionVariant"] == "main"
        assert told(answer)["model"] == "nano"
        sagemaker(cloud, "DeleteEndpoint", EndpointName="live")
        wait(
            cloud,
            lambda: sagemaker(cloud, "ListEndpoints"),
            lambda listed: not listed["Endpoints"],
        )
        message = refused("ValidationError", lambda: invoke(cloud, "live"))
        assert "Endpoint live of account [account] not found." in message
        sagemaker(cloud, "DeleteEndpointConfig", EndpointConfigName="live")
        sagemaker(cloud, "DeleteModel", ModelName="nano")
        assert sagemaker(cloud, "ListModels") == {"Models": []}
        assert sagemaker(cloud, "ListEndpointConfigs") == {"EndpointConfigs": []}

    def test_what_is_missing_or_there_already(self, cloud: CheckedRehearsal) -> None:
        for operation, key, words, kind in (
            ("DescribeEndpoint", "EndpointName", "endpoint", "endpoint"),
            ("DeleteEndpoint", "EndpointName", "endpoint", "endpoint"),
            ("DescribeModel", "ModelName", "model", "model"),
            (
                "DeleteEndpointConfig",
                "EndpointConfigName",
                "endpoint configuration",
                "endpoint-config",
            ),
        ):
            message = refused(
                "ValidationException",
                partial(sagemaker, cloud, operation, **{key: "no"}),
            )
            assert f'Could not find {words} "{arn(kind, "no")}".' in message
        message = refused("ValidationException", lambda: make_model(cloud, "nano"))
        assert f'Cannot create already existing model "{arn("model", "nano")}".' in message
        message = refused("ValidationException", lambda: make_config(cloud, "c", variant("other")))
        assert f'Could not find model "{arn("model", "other")}".' in message

    def test_what_reaches_the_container_and_what_comes_back(self, cloud: CheckedRehearsal) -> None:
        deploy(cloud, "live", variant("nano"))
        answer = invoke(
            cloud,
            "live",
            b"12345",
            ContentType="image/jpeg",
            Accept="application/json",
            CustomAttributes="frame=3",
            InferenceId="call-1",
        )
        said = told(answer)
        assert said["length"] == 5
        expected = {
            "Content-Type": "image/jpeg",
            "Accept": "application/json",
            "X-Amzn-SageMaker-Custom-Attributes": "frame=3",
            "X-Amzn-SageMaker-Inference-Id": "call-1",
        }
        own = {"Host", "Accept-Encoding", "Content-Length"}
        assert {key: said["headers"][key] for key in said["headers"].keys() - own} == expected
        assert answer.keys() == {
            "Body", "ContentType", "CustomAttributes", "InvokedProductionVariant",
        }  # fmt: skip
        assert answer["ContentType"] == "application/json"
        assert answer["CustomAttributes"] == "from=container"

    def test_errors_of_the_container(self, cloud: CheckedRehearsal) -> None:
        deploy(cloud, "live", variant("nano"))
        for status, side in ((400, "client"), (500, "server")):
            message = refused(
                "ModelError",
                partial(invoke, cloud, "live", CustomAttributes=f"status={status}"),
            )
            assert f'Received {side} error ({status}) from primary with message "{{' in message
            assert "/aws/sagemaker/Endpoints/live" in message
            assert ACCOUNT not in message

    def test_limits_of_time_and_size(self, tmp_path: Path) -> None:
        with rehearse(tmp_path, invocation_seconds=0.3) as cloud:
            make_model(cloud, "nano")
            deploy(cloud, "live", variant("nano"))
            began = time.monotonic()
            message = refused(
                "ModelError", lambda: invoke(cloud, "live", CustomAttributes="sleep=20")
            )
            assert time.monotonic() - began < 10
            assert "Received server error (0)" in message
            assert "Your invocation timed out while waiting for a response" in message
            message = refused(
                "ModelError",
                lambda: invoke(cloud, "live", CustomAttributes=f"large={(25 << 20) + 1}"),
            )
            assert "Received server error (0)" in message
            with pytest.raises(ConfigError, match="at most 26,214,400 bytes"):
                invoke(cloud, "live", bytes((25 << 20) + 1))

    def test_sessions_stay_with_their_instance(self, cloud: CheckedRehearsal) -> None:
        deploy(cloud, "live", variant("nano", InitialInstanceCount=2))
        opened = [invoke(cloud, "live", SessionId="NEW_SESSION") for _ in range(2)]
        pids = [told(answer)["pid"] for answer in opened]
        assert len(set(pids)) == 2
        sessions = []
        for answer, pid in zip(opened, pids, strict=True):
            assert answer["NewSessionId"] == f"s-{pid}; Expires=2026-11-23T20:00:00Z"
            sessions.append(answer["NewSessionId"].partition(";")[0])
        for _ in range(3):
            for session, pid in zip(sessions, pids, strict=True):
                assert told(invoke(cloud, "live", SessionId=session))["pid"] == pid
        closed = invoke(cloud, "live", SessionId=sessions[0], CustomAttributes="close=1")
        assert closed["ClosedSessionId"] == sessions[0]

    def test_two_variants_share_the_calls(self, cloud: CheckedRehearsal) -> None:
        make_model(cloud, "other")
        deploy(
            cloud,
            "split",
            variant("nano", VariantName="a", InitialVariantWeight=3.0),
            variant("other", VariantName="b", InitialVariantWeight=1.0),
        )
        answers = [invoke(cloud, "split") for _ in range(60)]
        assert {(each["InvokedProductionVariant"], told(each)["model"]) for each in answers} == {
            ("a", "nano"), ("b", "other"),
        }  # fmt: skip
        first = sum(each["InvokedProductionVariant"] == "a" for each in answers)
        assert 30 < first < 58  # three quarters of 60 are 45; seeded, so that it stays as it is
        chosen = invoke(cloud, "split", TargetVariant="b")
        assert chosen["InvokedProductionVariant"] == "b"
        message = refused("ValidationError", lambda: invoke(cloud, "split", TargetVariant="c"))
        assert "Variant c was not found" in message
        wish = [{"VariantName": "a", "DesiredWeight": 0.0}]
        sagemaker(
            cloud,
            "UpdateEndpointWeightsAndCapacities",
            EndpointName="split",
            DesiredWeightsAndCapacities=wish,
        )
        assert {invoke(cloud, "split")["InvokedProductionVariant"] for _ in range(9)} == {"b"}

    def test_a_container_that_does_not_come_up(self, cloud: CheckedRehearsal) -> None:
        make_model(cloud, "broken", CRASH="yes")
        found = deploy(cloud, "bad", variant("broken"))
        assert found["EndpointStatus"] == "Failed"
        assert found["FailureReason"] == (
            "The primary container for production variant main did not pass the ping health "
            "check. Please check CloudWatch logs for this endpoint."
        )
        assert log_lines(cloud, "/aws/sagemaker/Endpoints/bad", "main/") == ["no such model"]
        sagemaker(cloud, "DeleteEndpoint", EndpointName="bad")
        assert sagemaker(cloud, "ListEndpoints") == {"Endpoints": []}

    def test_an_update_that_fails_leaves_the_old_one(self, cloud: CheckedRehearsal) -> None:
        make_model(cloud, "better")
        make_model(cloud, "broken", CRASH="yes")
        deploy(cloud, "live", variant("nano"))
        for model, expected in (("broken", "nano"), ("better", "better")):
            make_config(cloud, model, variant(model))
            sagemaker(cloud, "UpdateEndpoint", EndpointName="live", EndpointConfigName=model)
            found = settled(cloud, "live")
            assert found["EndpointStatus"] == "InService"
            assert ("FailureReason" in found) == (model == "broken")
            assert told(invoke(cloud, "live"))["model"] == expected
        assert found["EndpointConfigName"] == "better"

    def test_archives_stay_in_their_folder(self, cloud: CheckedRehearsal, tmp_path: Path) -> None:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as tar:
            info = tarfile.TarInfo("../../../escaped")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
        uri = put(cloud, "models/bad.tar.gz", content.getvalue())
        described = sagemaker(cloud, "DescribeModel", ModelName="nano")
        container = described["PrimaryContainer"] | {"ModelDataUrl": uri}
        sagemaker(
            cloud, "CreateModel", ModelName="bad", PrimaryContainer=container,
            ExecutionRoleArn=described["ExecutionRoleArn"],
        )  # fmt: skip
        found = deploy(cloud, "bad", variant("bad"))
        assert found["EndpointStatus"] == "Failed"
        assert (
            f'Failed to extract model data archive for container "container_1" from URL "{uri}"'
            in (found["FailureReason"])
        )
        assert not list(tmp_path.rglob("escaped"))

    def test_data_capture(self, cloud: CheckedRehearsal) -> None:
        capture = {
            "EnableCapture": True,
            "InitialSamplingPercentage": 50,
            "DestinationS3Uri": f"s3://{BUCKET}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        }
        deploy(cloud, "live", variant("nano"), DataCaptureConfig=capture)
        for number in range(4):
            invoke(cloud, "live", f"picture {number}".encode(), ContentType="image/jpeg")
        found = keys(cloud, "capture/live/main/")
        assert len(found) == 2  # half of them
        data = json.loads(get(cloud, found[0]))["captureData"]
        assert base64.b64decode(data["endpointInput"]["data"]).startswith(b"picture ")
        assert data["endpointInput"]["observedContentType"] == "image/jpeg"
        assert data["endpointOutput"]["mode"] == "OUTPUT"

    def test_serverless(self, cloud: CheckedRehearsal) -> None:
        given = {
            "VariantName": "main",
            "ModelName": "nano",
            "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1},
        }
        found = deploy(cloud, "less", given)
        assert found["ProductionVariants"][0]["CurrentServerlessConfig"]["MemorySizeInMB"] == 2048
        assert told(invoke(cloud, "less"))["model"] == "nano"
        assert "oversize body" in refused(
            "ValidationError", lambda: invoke(cloud, "less", bytes((4 << 20) + 1))
        )
        with ThreadPoolExecutor() as pool:
            first = pool.submit(invoke, cloud, "less", CustomAttributes="sleep=1")
            time.sleep(0.3)
            assert "Rate exceeded" in refused("ThrottlingException", lambda: invoke(cloud, "less"))
            assert first.result()["Body"]

    def test_no_capacity_and_no_quota(self, cloud: CheckedRehearsal) -> None:
        cloud.faults.no_capacity.add("ml.c5.xlarge")
        found = deploy(cloud, "none", variant("nano"))
        assert found["FailureReason"].startswith("Unable to provision requested ML compute")
        cloud.faults.quotas["ml.c5.xlarge for endpoint usage"] = 1.0
        make_config(cloud, "two", variant("nano", InitialInstanceCount=2))
        message = refused(
            "ResourceLimitExceeded",
            lambda: sagemaker(
                cloud, "CreateEndpoint", EndpointName="two", EndpointConfigName="two"
            ),
        )
        assert "'ml.c5.xlarge for endpoint usage' is 1 Instances" in message

    def test_the_next_command_calls_it_again(self, tmp_path: Path) -> None:
        with rehearse(tmp_path) as cloud:
            make_model(cloud, "nano")
            deploy(cloud, "live", variant("nano"))
            pid = told(invoke(cloud, "live"))["pid"]
        with rehearse(tmp_path) as cloud:
            found = sagemaker(cloud, "DescribeEndpoint", EndpointName="live")
            assert found["EndpointStatus"] == "InService"
            assert told(invoke(cloud, "live"))["pid"] != pid
            sagemaker(cloud, "DeleteEndpoint", EndpointName="live")


OUTPUT = {
    "S3OutputPath": f"s3://{BUCKET}/async/later/output",
    "S3FailurePath": f"s3://{BUCKET}/async/later/failure",
}


def deploy_later(cloud: CheckedRehearsal, **more: Any) -> None:
    topics = {}
    for name in ("SuccessTopic", "ErrorTopic"):
        topics[name] = ask(cloud, "sns", "CreateTopic", Name=f"motrail-{name}")["TopicArn"]
    output = OUTPUT | {"NotificationConfig": topics | more}
    config = {
        "OutputConfig": output,
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
    }
    deploy(cloud, "later", variant("nano"), AsyncInferenceConfig=config)


def send(cloud: CheckedRehearsal, key: str, **more: Any) -> dict[str, Any]:
    uri = f"s3://{BUCKET}/async/later/input/{key}"
    return ask(
        cloud, "sagemaker-runtime", "InvokeEndpointAsync",
        EndpointName="later", InputLocation=uri, ContentType="video/mp4", **more,
    )  # fmt: skip


def messages(cloud: CheckedRehearsal, count: int) -> list[tuple[str, dict[str, Any]]]:
    found = wait(cloud, lambda: {"all": cloud.messages}, lambda each: len(each["all"]) >= count)
    return [
        (each["TopicArn"].rpartition("-")[2], json.loads(each["Message"])) for each in found["all"]
    ]


class TestAsynchronous:
    def test_from_s3_to_s3_and_sns(self, cloud: CheckedRehearsal) -> None:
        deploy_later(cloud)
        put(cloud, "async/later/input/a.mp4", b"1234")
        sent = send(cloud, "a.mp4", InferenceId="clip-a", CustomAttributes="frame=1")
        assert sent["InferenceId"] == "clip-a"
        ((topic, message),) = messages(cloud, 1)
        assert topic == "SuccessTopic"
        output = sent["OutputLocation"]
        assert output.startswith(f"{OUTPUT['S3OutputPath']}/")
        assert output.endswith(".out")
        assert {key: message[key] for key in message.keys() - {"eventTime", "receivedTime"}} == {
            "awsRegion": "eu-west-1",
            "invocationStatus": "Completed",
            "requestParameters": {
                "endpointName": "later",
                "contentType": "video/mp4",
                "customAttributes": "frame=1",
                "inputLocation": f"s3://{BUCKET}/async/later/input/a.mp4",
            },
            "responseParameters": {"contentType": "application/json", "outputLocation": output},
            "inferenceId": "clip-a",
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }
        said = json.loads(get(cloud, output.removeprefix(f"s3://{BUCKET}/")))
        assert said["length"] == 4
        assert said["headers"]["Content-Type"] == "video/mp4"
        assert said["headers"]["X-Amzn-SageMaker-Inference-Id"] == "clip-a"

    def test_failures(self, cloud: CheckedRehearsal) -> None:
        deploy_later(cloud)
        put(cloud, "async/later/input/a.mp4", b"1234")
        sent = send(cloud, "a.mp4", CustomAttributes="status=500")
        ((topic, message),) = messages(cloud, 1)
        assert topic == "ErrorTopic"
        assert message["invocationStatus"] == "Failed"
        assert message["failureReason"] == (
            "ClientError: Received server error (500) from model. See the SageMaker Endpoint logs "
            "in your account for more information."
        )
        failure = sent["FailureLocation"].removeprefix(f"s3://{BUCKET}/")
        assert b"Received server error (500)" in get(cloud, failure)
        assert keys(cloud, "async/later/output") == []
        send(cloud, "missing.mp4")
        assert "specified key does not exist" in messages(cloud, 2)[1][1]["failureReason"]
        put(cloud, "async/later/input/b.mp4", b"1234")
        send(cloud, "b.mp4", CustomAttributes="sleep=20", InvocationTimeoutSeconds=1)
        assert "Received server error (0)" in messages(cloud, 3)[2][1]["failureReason"]

    def test_one_after_the_other(self, cloud: CheckedRehearsal) -> None:
        deploy_later(cloud)
        for name in "abc":
            put(cloud, f"async/later/input/{name}", name.encode())
            send(cloud, name, InferenceId=name, CustomAttributes="sleep=0.1")
        assert [message["inferenceId"] for _, message in messages(cloud, 3)] == ["a", "b", "c"]

    def test_the_next_command_goes_on(self, tmp_path: Path) -> None:
        with rehearse(tmp_path) as cloud:
            make_model(cloud, "nano")
            deploy_later(cloud)
            put(cloud, "async/later/input/a", b"1234")
            sent = send(cloud, "a", CustomAttributes="sleep=2")
        assert cloud.messages == []
        with rehearse(tmp_path) as cloud:
            ((_, message),) = messages(cloud, 1)
            assert message["responseParameters"]["outputLocation"] == sent["OutputLocation"]

    def test_response_in_the_message_and_inline_body(self, cloud: CheckedRehearsal) -> None:
        deploy_later(cloud, IncludeInferenceResponseIn=["SUCCESS_NOTIFICATION_TOPIC"])
        ask(
            cloud, "sagemaker-runtime", "InvokeEndpointAsync",
            EndpointName="later", Body=b"12", ContentType="image/jpeg",
        )  # fmt: skip
        ((_, message),) = messages(cloud, 1)
        assert json.loads(message["responseBody"]["content"])["length"] == 2

    def test_each_kind_has_its_own_call(self, cloud: CheckedRehearsal) -> None:
        deploy_later(cloud)
        deploy(cloud, "live", variant("nano"))
        message = refused("ValidationError", lambda: invoke(cloud, "later"))
        assert "Endpoint later is an asynchronous endpoint." in message
        message = refused(
            "ValidationError",
            lambda: ask(
                cloud, "sagemaker-runtime", "InvokeEndpointAsync",
                EndpointName="live", InputLocation=f"s3://{BUCKET}/x",
            ),
        )  # fmt: skip
        assert "Endpoint live is not an asynchronous endpoint." in message
