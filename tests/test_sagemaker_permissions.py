"""Who may do what: the people, the roles that SageMaker works in, and the walker that looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from motrail.config import Range, SageMakerSettings
from motrail.sagemaker.project import PROJECT_TAG
from motrail.sagemaker.request import Request
from motrail.sagemaker.requests import admin, endpoint, processing, scaling
from motrail.sagemaker.requests.labeling import LabelingOrder, create_labeling_job
from motrail.sagemaker.requests.stack import (
    bucket_arns,
    create_change_set,
    delete_stack,
    describe_stack,
    execute_change_set,
    partition,
    stack_events,
)
from motrail.sagemaker.requests.training import TrainingOrder, create_training_job
from motrail.sagemaker.requests.tuning import TuningOrder, create_tuning_job
from motrail.sagemaker.rules import check
from sagemaker_asked import asked
from sagemaker_fake import ACCOUNT, KEY, PROJECT
from sagemaker_policy import OPERATOR, SETUP, Permissions, is_allowed, listed, matches
from sagemaker_roles import Access

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = {
    "Subnets": "subnet-0a1b2c3d,subnet-4e5f6a7b",
    "SecurityGroups": "sg-0a1b2c3d",
    "KmsKey": KEY,
    "InputBuckets": "arn:aws:s3:::footage,arn:aws:s3:::archive",
}


@pytest.fixture(scope="module")
def plain() -> Permissions:
    return Permissions(PROJECT)


@pytest.fixture(scope="module")
def full() -> Permissions:
    return Permissions(PROJECT, EVERYTHING)


def tagged(operation: str, **parameters: Any) -> Request:
    tags = [{"Key": PROJECT_TAG, "Value": "motrail"}]
    return Request("sagemaker", operation, parameters | {"Tags": tags})


# The people --------------------------------------------------------------------------------------


def test_the_operator_may_make_only_what_carries_the_tag(plain: Permissions) -> None:
    name = {"ModelName": "m", "ExecutionRoleArn": PROJECT.serving_role}
    assert plain.allowed(OPERATOR, tagged("CreateModel", **name))
    assert not plain.allowed(OPERATOR, Request("sagemaker", "CreateModel", name))
    foreign = name | {"Tags": [{"Key": PROJECT_TAG, "Value": "another"}]}
    assert not plain.allowed(OPERATOR, Request("sagemaker", "CreateModel", foreign))
    # And hand on no roles but the stack's.
    admin_role = name | {"ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/Admin"}
    assert not plain.allowed(OPERATOR, tagged("CreateModel", **admin_role))


def test_the_operator_may_end_only_what_carries_the_tag(plain: Permissions) -> None:
    request = admin.end(admin.ENDPOINT, "e")
    assert plain.refused(request) == []
    ((who, access),) = plain.refused(request, tags={PROJECT_TAG: "another"})
    assert (who, access.action) == (OPERATOR, "sagemaker:DeleteEndpoint")
    assert plain.refused(request, tags={}) != []


@pytest.mark.parametrize(
    "request_",
    [
        describe_stack("motrail"),
        *(admin.list_all(kind) for kind in (admin.ENDPOINT, admin.MODEL, *admin.JOBS)),
        *(admin.end(kind, "x") for kind in (admin.ENDPOINT, admin.MODEL, *admin.JOBS)),
        *(admin.describe_job(kind, "x") for kind in admin.JOBS),
        *(admin.forget(kind, "x") for kind in admin.JOBS if kind.forget),
        admin.list_tags(f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/e"),
        admin.scalable_targets(),
        admin.scaling_tags(f"arn:aws:application-autoscaling:eu-west-1:{ACCOUNT}:scalable-target/0"),
        admin.scaling_policies("endpoint/e/variant/main"),
        admin.delete_scaling_policy("endpoint/e/variant/main", "p"),
        admin.deregister_scaling("endpoint/e/variant/main"),
        admin.alarms(),
        admin.alarm_tags(f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm:a"),
        admin.delete_alarm("a"),
        admin.endpoint_log_groups("e"),
        admin.delete_log_group("/aws/sagemaker/Endpoints/e"),
        admin.log_streams("/aws/sagemaker/TrainingJobs", "j"),
        admin.delete_log_stream("/aws/sagemaker/TrainingJobs", "j/algo-1-1"),
        admin.delete_log_stream("/aws/sagemaker/ProcessingJobs", "j/algo-1-1"),
        admin.delete_objects(PROJECT.bucket, ["training/a", "models/b"]),
        admin.list_quotas(),
        admin.get_prices("eu-west-1", "ml.g6.xlarge"),
        admin.describe_image("motrail/train", "0.1.0"),
        Request("ecr", "GetAuthorizationToken", {}),
        create_change_set("motrail", "motrail-1a", "CREATE", {"Project": "motrail"}),
        execute_change_set("motrail", "motrail-1a"),
        stack_events("motrail"),
        delete_stack("motrail"),
        admin.object_versions(PROJECT.bucket),
        admin.delete_versions(PROJECT.bucket, [("training/a", "v1")]),
        admin.delete_bucket(PROJECT.bucket),
    ],
)  # fmt: skip
def test_what_these_commands_ask_for_is_right_and_allowed(
    plain: Permissions, request_: Request
) -> None:
    check(request_)
    assert plain.refused(request_) == []


@pytest.mark.parametrize(
    "request_",
    [
        admin.delete_log_group("/aws/lambda/somebody-elses"),
        admin.delete_log_stream("/aws/lambda/somebody-elses", "j/algo-1-1"),
        admin.delete_objects("another-bucket", ["a"]),
        admin.describe_image("another/train", "0.1.0"),
        delete_stack("another"),
        admin.delete_bucket("another-bucket"),
    ],
)
def test_what_is_not_the_projects_is_refused(plain: Permissions, request_: Request) -> None:
    assert plain.refused(request_)


def test_who_sets_up_may_make_no_other_names() -> None:
    permissions = Permissions(PROJECT)
    mine = Access("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/motrail-TrainingRole-1A2B")
    assert permissions.allows(SETUP, mine)
    assert not permissions.allows(
        SETUP, mine._replace(resource=f"arn:aws:iam::{ACCOUNT}:role/Admin")
    )
    assert {partition(region) for region in ("cn-north-1",)} == {"aws-cn"}
    assert partition("us-gov-west-1") == "aws-us-gov"
    assert bucket_arns(("a1b", "c2d"), "cn-north-1") == "arn:aws-cn:s3:::a1b,arn:aws-cn:s3:::c2d"


# By the name of each action: what is needed without a request of ours that has its name.
_CARRIED = {"s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"}
"""By boto3's transfers of files."""
_BROUGHT = {
    "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload",
    "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
}  # fmt: skip
"""By who pushes images (Amazon ECR user guide, "IAM permissions for pushing an image")."""
_ALONG = {
    "application-autoscaling:TagResource", "cloudwatch:TagResource", "greengrass:TagResource",
    "iam:CreateServiceLinkedRole", "iam:PassRole", "sagemaker:AddTags",
    "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*",
}  # fmt: skip
"""By what other requests have in them: tags, roles, keys, the first endpoint that is scaled."""


def test_the_operator_may_do_nothing_that_is_never_asked_for(full: Permissions) -> None:
    names = {"service-quotas": "servicequotas", "greengrassv2": "greengrass"}
    names |= {"sagemaker-runtime": "sagemaker"}
    objects = {"s3:ListObjectsV2": "s3:ListBucket", "s3:DeleteObjects": "s3:DeleteObject"}
    found = {f"{names.get(service, service)}:{operation}" for service, operation in asked()}
    needed = {objects.get(action, action) for action in found} | _CARRIED | _BROUGHT | _ALONG
    allowed = {action for each in full.policies[OPERATOR] for action in listed(each["Action"])}
    assert allowed - needed == set()
    # And every request is known to somebody, but for those that need no permission.
    setup = {action for each in full.policies[SETUP] for action in listed(each["Action"])}
    versions = {"s3:ListObjectVersions"}  # is allowed as s3:ListBucketVersions
    assert needed - allowed - setup - versions - {"s3:ListObjectsV2"} == set()


def test_the_code_is_read_for_what_it_asks() -> None:
    found = asked()
    assert ("sagemaker", "DescribeModel") in found
    assert ("sagemaker", "StopLabelingJob") in found
    assert ("cloudwatch", "ListTagsForResource") in found
    assert ("sagemaker", "UpdateEndpointWeightsAndCapacities") not in found
    assert ("logs", "FilterLogEvents") not in found


# What SageMaker does in a role -------------------------------------------------------------------


def training(**changes: Any) -> Request:
    given = {
        "TrainingJobName": "j",
        "RoleArn": PROJECT.training_role,
        "AlgorithmSpecification": {"TrainingImage": PROJECT.training_image},
        "InputDataConfig": [
            {"DataSource": {"S3DataSource": {"S3Uri": PROJECT.uri("datasets", "a")}}}
        ],
        "OutputDataConfig": {"S3OutputPath": PROJECT.uri("training")},
        "CheckpointConfig": {"S3Uri": PROJECT.uri("training", "j", "checkpoints")},
    }
    return tagged("CreateTrainingJob", **given | changes)


def test_what_a_training_job_does_is_walked(plain: Permissions, full: Permissions) -> None:
    assert plain.refused(training()) == []
    assert plain.allowed("training", training())
    image = {"AlgorithmSpecification": {"TrainingImage": PROJECT.serving_image}}
    refused = [access.action for _, access in plain.refused(training(**image))]
    assert "ecr:BatchGetImage" in refused
    elsewhere = {"OutputDataConfig": {"S3OutputPath": "s3://another/x"}}
    assert not plain.allowed("training", training(**elsewhere))
    encrypted = {"OutputDataConfig": {"S3OutputPath": PROJECT.uri("training"), "KmsKeyId": KEY}}
    assert not plain.allowed("training", training(**encrypted))
    assert full.refused(training(**encrypted)) == []
    vpc = {"Subnets": ["subnet-0a1b2c3d"], "SecurityGroupIds": ["sg-0a1b2c3d"]}
    assert not plain.allowed("training", training(VpcConfig=vpc))
    assert full.refused(training(VpcConfig=vpc)) == []


def test_the_walker_knows_what_it_does_not_know(plain: Permissions) -> None:
    for request in (
        Request("s3", "PutBucketPolicy", {"Bucket": "b"}),
        Request("iam", "CreateUser", {}),
        Request("ec2", "RunInstances", {}),
    ):
        with pytest.raises(NotImplementedError):
            plain.refused(request)


SETTINGS = SageMakerSettings(
    workteam=f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:workteam/private-crowd/us"
)
ORDER = TrainingOrder(
    "j", {"epochs": "2"}, PROJECT.uri("datasets", "a"), PROJECT.uri("training", "j", "w")
)


def flows() -> Iterator[Request]:
    """One request of each kind that makes something."""
    yield create_training_job(ORDER, PROJECT, SETTINGS)
    yield create_tuning_job(TuningOrder(ORDER, {"flip": Range(0, 1)}), PROJECT, SETTINGS)
    labeling = LabelingOrder(
        name="l",
        kind="label",
        manifest=PROJECT.uri("labeling", "l", "input", "a.manifest"),
        categories=PROJECT.uri("labeling", "l", "input", "categories.json"),
        output=PROJECT.uri("labeling", "l", "output"),
        workteam=str(SETTINGS.workteam),
    )
    yield create_labeling_job(labeling, PROJECT, SETTINGS)
    job = processing.Job(
        name="b",
        step="videos",
        videos=PROJECT.uri("batch", "b", "input/"),
        model=PROJECT.uri("batch", "b", "plan", "model/"),
        output=PROJECT.uri("batch", "b", "tracks"),
        instances=3,
        volume_gib=50,
    )
    yield processing.create_job(PROJECT, SETTINGS, job, {})
    data = PROJECT.uri("models", "m", "model.tar.gz")
    yield endpoint.create_model(PROJECT, SETTINGS, "m", data, {}, {})
    yield endpoint.create_config(
        PROJECT,
        SETTINGS,
        "c",
        [endpoint.Variant("m")],
        endpoint.Instances("ml.g6.xlarge"),
        capture=endpoint.Capture(20, PROJECT.uri("capture", "e")),
        asynchronous=endpoint.Asynchronous(
            PROJECT.uri("async", "e", "output"), PROJECT.uri("async", "e", "failure")
        ),
        tags={},
    )
    yield endpoint.create_endpoint(PROJECT, "e", "c", {})
    yield endpoint.update_endpoint("e", "c")
    yield scaling.register(PROJECT, "e", "main", scaling.Bounds(0, 2), "async")
    yield scaling.track_backlog("e", "main", 2.0)
    yield scaling.wake("e", "main")
    yield scaling.backlog_alarm(PROJECT, "e", "main", "arn:aws:autoscaling:…")


@pytest.mark.parametrize("request_", list(flows()), ids=lambda request: request.operation)
def test_what_the_commands_make_is_allowed_to_them_and_to_the_roles(
    plain: Permissions, request_: Request
) -> None:
    assert plain.refused(request_) == []
    # And by its tags alone: without them it would be refused.
    bare = {k: v for k, v in request_.parameters.items() if k != "Tags"}
    assert plain.refused(request_._replace(parameters=bare), tags={}) != []


def test_with_key_and_network_too(full: Permissions) -> None:
    settings = SageMakerSettings(
        kms_key=KEY, subnets=("subnet-0a1b2c3d",), security_groups=("sg-0a1b2c3d",)
    )
    assert full.refused(create_training_job(ORDER, PROJECT, settings)) == []
    assert Permissions(PROJECT).refused(create_training_job(ORDER, PROJECT, settings)) != []


# The walker itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("s3:*", "s3:GetObject", True),
        ("s3:Get*", "s3:PutObject", False),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b", False),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/c", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a[b]c", "abc", False),
        ("a[b]c", "a[b]c", True),
    ],
)
def test_wildcards(pattern: str, text: str, *, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_statements() -> None:
    allow = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["b/*", "c"]}
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "b/secret"}
    assert is_allowed([allow], Access("s3:GetObject", "b/a"))
    assert is_allowed([allow], Access("S3:getobject", "c"))  # actions are told apart by no case
    assert not is_allowed([allow], Access("s3:GetObject", "B/a"))  # resources are
    assert not is_allowed([allow], Access("s3:PutObject", "b/a"))
    assert not is_allowed([], Access("s3:GetObject", "b/a"))
    assert not is_allowed([allow, deny], Access("s3:GetObject", "b/secret"))
    assert is_allowed([allow, deny], Access("s3:GetObject", "b/a"))


def test_conditions() -> None:
    def asks(operator: str, wanted: Any, context: dict[str, Any]) -> bool:
        condition = {operator: {"k": wanted}}
        statement = {"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": condition}
        return is_allowed([statement], Access("a:b", "x", context))

    assert asks("StringEquals", "v", {"k": "v"})
    assert asks("StringEquals", ["u", "v"], {"k": "v"})
    assert not asks("StringEquals", "v*", {"k": "vw"})
    assert asks("StringLike", "v*", {"k": "vw"})
    assert asks("Bool", "true", {"k": True})
    assert not asks("Bool", "true", {})
    with pytest.raises(NotImplementedError, match="IpAddress"):
        asks("IpAddress", "10.0.0.0/8", {"k": "10.0.0.1"})


def test_a_statement_with_unknown_parts_is_not_taken_for_known() -> None:
    statement = {"Effect": "Allow", "NotAction": "iam:*", "Action": "s3:*", "Resource": "*"}
    with pytest.raises(NotImplementedError, match="NotAction"):
        is_allowed([statement], Access("s3:GetObject", "b"))
