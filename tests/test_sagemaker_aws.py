"""The real path through boto3, against moto instead of AWS."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import botocore.client
import pytest
from botocore import exceptions
from moto import mock_aws

from motrail.errors import ConfigError, MissingExtraError, OutputError
from motrail.sagemaker import aws as aws_module
from motrail.sagemaker.aws import Aws
from motrail.sagemaker.errors import answered, not_answered
from motrail.sagemaker.request import Cloud, CloudError, Request, split_uri
from motrail.sagemaker.transfer import download_folder
from sagemaker_valid import ACCOUNT, REGION, valid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105
TOKEN = "FwoGZXIvYXdzEDoaDPlantedTokenThatMustNotBeSeen0123456789"  # noqa: S105
BUCKET = "motrail-bucket"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def alone() -> Iterator[Aws]:
    """With the planted credentials, and nobody at the other end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_SESSION_TOKEN", TOKEN)
        yield Aws(REGION)


@pytest.fixture(scope="module")
def cloud(alone: Aws) -> Iterator[Aws]:
    """With moto at the other end; all tests share the bucket, each has keys of its own."""
    # moto would put other credentials in the place of those planted here.
    with mock_aws(config={"core": {"mock_credentials": False}}):
        made = alone
        made.call(
            Request(
                "s3",
                "CreateBucket",
                {"Bucket": BUCKET, "CreateBucketConfiguration": {"LocationConstraint": REGION}},
            )
        )
        yield made


def _clean(text: str) -> None:
    for secret in (KEY_ID, SECRET, TOKEN, ACCOUNT):
        assert secret not in text


def test_it_is_a_cloud(alone: Aws) -> None:
    checked: Cloud = alone
    assert (checked.region, checked.rehearsal) == (REGION, False)


def test_a_file_goes_up_and_comes_back(cloud: Aws, tmp_path: Path) -> None:
    content = os.urandom(9 * 1024 * 1024)  # more than one part
    (tmp_path / "video.mp4").write_bytes(content)
    up: list[int] = []
    down: list[int] = []
    cloud.upload(tmp_path / "video.mp4", f"s3://{BUCKET}/in/a video ü.mp4", tell=up.append)
    cloud.download(f"s3://{BUCKET}/in/a video ü.mp4", tmp_path / "back.mp4", tell=down.append)
    assert (tmp_path / "back.mp4").read_bytes() == content
    assert sum(up) == sum(down) == len(content)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.mp4", "video.mp4"]


def test_a_download_appears_whole_or_not_at_all(cloud: Aws, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(CloudError, match="GetObject|HeadObject") as caught:
        cloud.download(f"s3://{BUCKET}/nothing", tmp_path / "old")
    assert caught.value.code == "NoSuchKey"
    assert (tmp_path / "old").read_bytes() == b"old"

    def stop(_: int) -> None:
        raise RuntimeError("stop")

    (tmp_path / "up").write_bytes(b"x" * 1000)
    cloud.upload(tmp_path / "up", f"s3://{BUCKET}/up")
    with pytest.raises(RuntimeError, match="stop"):
        cloud.download(f"s3://{BUCKET}/up", tmp_path / "old", tell=stop)
    assert (tmp_path / "old").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "up"]


def test_a_download_to_where_nothing_can_be_written(cloud: Aws, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    cloud.upload(tmp_path / "file", f"s3://{BUCKET}/file")
    with pytest.raises(OutputError, match=r"below: cannot be written"):
        cloud.download(f"s3://{BUCKET}/file", tmp_path / "file" / "below")


def test_an_upload_of_nothing_or_to_nowhere(cloud: Aws, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: expected a file to upload, found none"):
        cloud.upload(tmp_path / "none", f"s3://{BUCKET}/x")
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"found 's3://motrail-bucket', which has no key"):
        cloud.upload(tmp_path / "x", f"s3://{BUCKET}")
    with pytest.raises(ConfigError, match=r"which has no key"):
        cloud.download(f"s3://{BUCKET}/folder/", tmp_path / "y")
    with pytest.raises(CloudError, match=r"NoSuchBucket: .*run: motrail sagemaker setup") as caught:
        cloud.upload(tmp_path / "x", "s3://someone-elses/x")
    assert caught.value.code == "NoSuchBucket"


def test_an_upload_that_may_not_be_read(
    alone: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"x")

    class Client:
        def upload_file(self, *_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(alone._clients, "s3", Client())
    with pytest.raises(ConfigError, match="x: cannot be read: Permission denied"):
        alone.upload(tmp_path / "x", f"s3://{BUCKET}/x")


def test_objects_come_in_the_order_of_keys_over_many_pages(
    cloud: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(7):
        name = f"a/{index:03}.jpg"
        cloud.call(
            Request("s3", "PutObject", {"Bucket": BUCKET, "Key": name, "Body": b"x" * index})
        )
    cloud.call(Request("s3", "PutObject", {"Bucket": BUCKET, "Key": "b", "Body": b""}))
    sent: list[dict[str, Any]] = []
    original = botocore.client.BaseClient._make_api_call

    def three_at_a_time(self: Any, name: str, parameters: dict[str, Any]) -> Any:
        if name == "ListObjectsV2":
            sent.append(parameters)
            parameters = {**parameters, "MaxKeys": 3}
        return original(self, name, parameters)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", three_at_a_time)
    found = list(cloud.objects(f"s3://{BUCKET}/a/"))
    assert [item.uri for item in found] == [f"s3://{BUCKET}/a/{i:03}.jpg" for i in range(7)]
    assert [item.size for item in found] == list(range(7))
    assert found[0].etag == "d41d8cd98f00b204e9800998ecf8427e"  # MD5 of nothing
    assert len(sent) == 3
    assert not list(cloud.objects(f"s3://{BUCKET}/c"))


def test_a_body_is_bytes(cloud: Aws) -> None:
    cloud.call(Request("s3", "PutObject", {"Bucket": BUCKET, "Key": "k", "Body": b"abc"}))
    answer = cloud.call(Request("s3", "GetObject", {"Bucket": BUCKET, "Key": "k"}))
    assert answer["Body"] == b"abc"
    assert "ResponseMetadata" not in answer


def test_a_stream_of_events_is_bytes_too() -> None:
    class EventStream:
        closed = False

        def __iter__(self) -> Iterator[Any]:
            return iter([{"PayloadPart": {"Bytes": b"a"}}, {"PayloadPart": {"Bytes": b"b"}}])

        def close(self) -> None:
            self.closed = True

    stream = EventStream()
    assert (aws_module._whole(stream), stream.closed) == (b"ab", True)


def test_topics(cloud: Aws) -> None:
    for name in ("one", "two"):
        cloud.call(Request("sns", "CreateTopic", {"Name": name}))
    topics = list(cloud.pages(Request("sns", "ListTopics", {}), "Topics"))
    assert [topic["TopicArn"].rpartition(":")[2] for topic in topics] == ["one", "two"]
    answer = cloud.call(
        Request("sns", "Publish", {"TopicArn": topics[0]["TopicArn"], "Message": "a"})
    )
    assert answer["MessageId"]


def test_a_training_job_and_a_model(cloud: Aws) -> None:
    request = valid("CreateTrainingJob")
    answer = cloud.call(request)
    assert answer["TrainingJobArn"].endswith(request.parameters["TrainingJobName"])
    name = {"TrainingJobName": request.parameters["TrainingJobName"]}
    told = cloud.call(Request("sagemaker", "DescribeTrainingJob", name))
    assert told["HyperParameters"] == request.parameters["HyperParameters"]
    cloud.call(valid("CreateModel"))
    model = cloud.call(Request("sagemaker", "DescribeModel", {"ModelName": "motrail-model"}))
    assert model["PrimaryContainer"]["ModelDataUrl"].endswith("model.tar.gz")


def test_all_pages_of_a_list(cloud: Aws) -> None:
    for index in range(5):
        request = valid("CreateTrainingJob")
        request.parameters["TrainingJobName"] = f"paged-{index}"
        cloud.call(request)
    listing = Request("sagemaker", "ListTrainingJobs", {"MaxResults": 2, "NameContains": "paged"})
    found = [job["TrainingJobName"] for job in cloud.pages(listing, "TrainingJobSummaries")]
    assert sorted(found) == [f"paged-{index}" for index in range(5)]


def test_what_has_no_pages_gives_its_one(cloud: Aws) -> None:
    buckets = cloud.pages(Request("sts", "GetCallerIdentity", {}), "Arn")
    assert "".join(buckets).startswith("arn:aws:sts::")


def test_what_breaks_a_rule_is_not_sent(alone: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("sent")

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", fail)
    request = valid("CreateTrainingJob")
    request.parameters["StoppingCondition"]["MaxWaitTimeInSeconds"] = 60
    with pytest.raises(ConfigError, match=r"\[rule max-wait\]"):
        alone.call(request)
    with pytest.raises(ConfigError, match=r"\[rule range\]"):
        list(alone.pages(Request("sagemaker", "ListTrainingJobs", {"MaxResults": 0}), "x"))


def test_what_is_not_there(cloud: Aws) -> None:
    missing = Request("sagemaker", "DescribeEndpoint", {"EndpointName": "motrail-endpoint"})
    with pytest.raises(
        CloudError, match="sagemaker DescribeEndpoint: ValidationException"
    ) as caught:
        cloud.call(missing)
    assert caught.value.code == "ValidationException"
    _clean(str(caught.value))


def _failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", fail)


def _answer(code: str, message: str) -> exceptions.ClientError:
    return exceptions.ClientError(
        {"Error": {"Code": code, "Message": message}},  # type: ignore[typeddict-item, unused-ignore]
        "CreateTrainingJob",
    )


@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        ("ExpiredTokenException", f"{TOKEN} is expired", "sign in again"),
        ("UnrecognizedClientException", f"{KEY_ID} invalid", "does not know these credentials"),
        (
            "AccessDeniedException",
            f"arn:aws:iam::{ACCOUNT}:user/x is not authorized to perform: sagemaker:Create on y",
            "let an administrator allow sagemaker:Create",
        ),
        ("AccessDenied", "no", "allow sagemaker:CreateTrainingJob"),
        ("ResourceLimitExceeded", "limit is 0 Instances", "under Service Quotas"),
        ("CapacityError", "Unable to provision", "no such instance free"),
        ("InternalError", "Insufficient capacity for ml.p5", "no such instance free"),
        ("ThrottlingException", "Rate exceeded", "fewer requests a second"),
        ("RequestTimeTooSkewed", "x", "the clock of this machine"),
    ],
)
def test_what_aws_refuses_comes_with_advice(
    alone: Aws, monkeypatch: pytest.MonkeyPatch, code: str, message: str, advice: str
) -> None:
    _failing(monkeypatch, _answer(code, message))
    with pytest.raises(CloudError, match="sagemaker CreateTrainingJob: ") as caught:
        alone.call(valid("CreateTrainingJob"))
    assert caught.value.code == code
    assert advice in str(caught.value)
    assert caught.value.__cause__ is None
    _clean(str(caught.value))


@pytest.mark.parametrize(
    ("error", "code", "advice"),
    [
        (exceptions.NoCredentialsError(), "NoCredentials", "no credentials were found"),
        (
            exceptions.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"),
            "NoCredentials",
            "both an access key id and a secret access key",
        ),
        (
            exceptions.EndpointConnectionError(endpoint_url=f"https://{KEY_ID}/", error="x"),
            "NoConnection",
            "look at the network, the proxy and the --region",
        ),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "Timeout", "too long to answer"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), "NoConnection", "not answer"),
        (exceptions.SSOTokenLoadError(error_msg="x"), "ExpiredToken", "sign in again"),
        (exceptions.SSLError(endpoint_url="https://x", error="x"), "NoConnection", "AWS_CA_BUNDLE"),
        (exceptions.UnknownSignatureVersionError(signature_version=KEY_ID), "UnknownSignature", ""),
    ],
)
def test_what_never_got_an_answer(
    alone: Aws, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, advice: str
) -> None:
    _failing(monkeypatch, error)
    with pytest.raises(CloudError) as caught:
        alone.call(valid("CreateTrainingJob"))
    assert caught.value.code.startswith(code)
    assert advice in str(caught.value)
    _clean(str(caught.value))


def test_a_container_that_refuses_says_why() -> None:
    error = answered(
        "sagemaker-runtime",
        "InvokeEndpoint",
        {
            "Error": {"Code": "ModelError", "Message": "Received client error (400)"},
            "OriginalMessage": f"image: 0 bytes; {KEY_ID}",
        },
    )
    assert error.code == "ModelError"
    assert "image: 0 bytes; [access key]; the container refused" in str(error)


def test_an_answer_without_a_word_is_an_error_all_the_same() -> None:
    error = answered("s3", "HeadBucket", {})
    assert (str(error), error.code) == ("s3 HeadBucket: Unknown: no reason given", "Unknown")
    assert not_answered("s3", "PutObject", ValueError("x")).code == "ValueError"


@pytest.mark.parametrize(
    ("service", "operation", "action"),
    [
        ("s3", "HeadObject", "s3:GetObject"),
        ("s3", "UploadPart", "s3:PutObject"),
        ("s3", "ListObjectsV2", "s3:ListBucket"),
        ("sagemaker-runtime", "InvokeEndpoint", "sagemaker:InvokeEndpoint"),
        ("service-quotas", "GetServiceQuota", "servicequotas:GetServiceQuota"),
        ("application-autoscaling", "PutScalingPolicy", "application-autoscaling:PutScalingPolicy"),
    ],
)
def test_the_action_to_be_allowed(service: str, operation: str, action: str) -> None:
    error = answered(service, operation, {"Error": {"Code": "AccessDenied", "Message": "no"}})
    assert str(error).endswith(f"let an administrator allow {action}")


def test_without_credentials_nothing_is_sent() -> None:
    with pytest.raises(CloudError, match="no credentials were found") as caught:
        Aws(REGION).call(Request("sagemaker", "ListModels", {}))
    assert caught.value.code == "NoCredentials"


def test_a_region_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a region of AWS, found none"):
        Aws()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert Aws().region == "eu-central-1"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    (tmp_path / "config").write_text("[profile work]\nregion = us-west-2\n", encoding="ascii")
    assert Aws(profile="work").region == "us-west-2"
    assert Aws("eu-west-2", "work").region == "eu-west-2"
    with pytest.raises(ConfigError, match="profile 'holiday': expected one of those in"):
        Aws(profile="holiday")


def test_a_frame_is_never_sent_twice_and_everything_else_is_tried_again(alone: Aws) -> None:
    runtime, other = alone._client("sagemaker-runtime"), alone._client("sagemaker")
    assert runtime.meta.config.retries["total_max_attempts"] == 1
    assert other.meta.config.retries == {"mode": "adaptive", "total_max_attempts": 8}
    assert other.meta.config.user_agent.endswith("motrail/0.1.0")
    assert runtime.meta.config.read_timeout > 60  # a real-time endpoint's longest answer
    assert alone._client("sagemaker") is other


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r'pip install "motrail\[sagemaker\]"'):
        Aws(REGION)


def test_waiting(alone: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("motrail.sagemaker.aws.time.sleep", waited.append)
    alone.sleep(30)
    assert waited == [30]


# Folders.


def test_a_folder_goes_up_and_comes_back(cloud: Aws, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    for name in ("train/a/img1/000001.jpg", "labels.txt", ".hidden", "train/ü ö.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    moved: list[int] = []
    for name in _content(folder):
        cloud.upload(folder / name, f"s3://{BUCKET}/datasets/d/{name}", tell=moved.append)
    assert sum(moved) == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    cloud.call(Request("s3", "PutObject", {"Bucket": BUCKET, "Key": "datasets/d/x/", "Body": b""}))
    cloud.call(Request("s3", "PutObject", {"Bucket": BUCKET, "Key": "datasets/d2", "Body": b""}))
    assert download_folder(cloud, f"s3://{BUCKET}/datasets/d", tmp_path / "back") == 4
    assert _content(tmp_path / "back") == _content(folder)


def _content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_an_empty_prefix_is_a_mistake(cloud: Aws, tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="expected objects to download, found none") as caught:
        download_folder(cloud, f"s3://{BUCKET}/nothing", tmp_path / "new")
    assert caught.value.code == "NoSuchKey"
    assert not (tmp_path / "new").exists()


def test_keys_that_lead_elsewhere_are_refused(cloud: Aws, tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    hostile = ["../../out", "a/../../out", "/out", "a//b", "./a", "a\\..\\b", "a\nb"]
    for index, key in enumerate(hostile):
        for name in ("good", key):
            put = {"Bucket": BUCKET, "Key": f"results/{index}/{name}", "Body": b"x"}
            cloud.call(Request("s3", "PutObject", put))
        with pytest.raises(
            CloudError, match="this key cannot be a file below the folder"
        ) as caught:
            download_folder(cloud, f"s3://{BUCKET}/results/{index}", inside / "c")
        assert caught.value.code == "UnsafeKey"
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b"]


def test_a_key_that_is_a_file_and_a_folder(cloud: Aws, tmp_path: Path) -> None:
    for name in ("a", "a/b"):
        put = {"Bucket": BUCKET, "Key": f"r/{name}", "Body": b"x"}
        cloud.call(Request("s3", "PutObject", put))
    with pytest.raises(OutputError, match=r"new/a(/b)?: cannot be written"):
        download_folder(cloud, f"s3://{BUCKET}/r", tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(cloud: Aws, tmp_path: Path) -> None:
    cloud.call(Request("s3", "PutObject", {"Bucket": BUCKET, "Key": "q/a", "Body": b"x"}))
    (tmp_path / "mine").write_text("mine", encoding="ascii")
    with pytest.raises(OutputError, match="there is something in this folder already"):
        download_folder(cloud, f"s3://{BUCKET}/q", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://my.bucket-1/a/b c/ü", ("my.bucket-1", "a/b c/ü")),
    ],
)
def test_an_address(uri: str, parts: tuple[str, str]) -> None:
    assert split_uri(uri) == parts


@pytest.mark.parametrize("uri", ["", "bucket/key", "https://bucket/key", "s3://B/key", "s3:///key"])
def test_what_is_no_address(uri: str) -> None:
    with pytest.raises(ConfigError, match="expected s3://bucket/key, found"):
        split_uri(uri)


def test_no_planted_credential_is_in_any_log(
    cloud: Aws, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with caplog.at_level("INFO"):
        cloud.upload(tmp_path / "x", f"s3://{BUCKET}/x")
        cloud.call(valid("CreateTrainingJob on demand"))
        with pytest.raises(CloudError):
            cloud.download(f"s3://{BUCKET}/y", tmp_path / "y")
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text
    assert KEY_ID not in caplog.text
