"""The stack: its template is right, and its policies allow what is needed and no more."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from cfnlint.api import lint_all

from motrail.sagemaker.project import OUTPUTS, PROJECT_TAG
from motrail.sagemaker.request import Request
from motrail.sagemaker.requests.policy import setup_policy
from motrail.sagemaker.requests.stack import (
    PARAMETERS,
    template,
)
from sagemaker_fake import ACCOUNT, KEY, PROJECT
from sagemaker_policy import OPERATOR, ROLES, Permissions, is_allowed
from sagemaker_roles import Access

if TYPE_CHECKING:
    from collections.abc import Iterator

VPC = {"Subnets": "subnet-0a1b2c3d,subnet-4e5f6a7b", "SecurityGroups": "sg-0a1b2c3d"}
EVERYTHING = VPC | {"KmsKey": KEY, "InputBuckets": "arn:aws:s3:::footage,arn:aws:s3:::archive"}
_MANAGED_LIMIT, _INLINE_LIMIT = 6144, 10240
"""Characters of a managed policy and of a role's own ones, without white space (IAM quotas)."""


@pytest.fixture(scope="module")
def plain() -> Permissions:
    return Permissions(PROJECT)


@pytest.fixture(scope="module")
def full() -> Permissions:
    return Permissions(PROJECT, EVERYTHING)


def statements(permissions: Permissions) -> Iterator[tuple[str, dict[str, Any]]]:
    for principal, policy in permissions.policies.items():
        for statement in policy:
            yield principal, statement


def actions(statement: dict[str, Any]) -> list[str]:
    found = statement["Action"]
    return found if isinstance(found, list) else [found]


def tagged(operation: str, **parameters: Any) -> Request:
    tags = [{"Key": PROJECT_TAG, "Value": "motrail"}]
    return Request("sagemaker", operation, parameters | {"Tags": tags})


# The template ------------------------------------------------------------------------------------


def test_the_template_passes_the_linter() -> None:
    # Information (I…) is advice about descriptions, not about what the template does.
    found = [str(item) for item in lint_all(template()) if not item.rule.id.startswith("I")]
    assert found == []


def test_the_template_is_small_enough_to_be_sent() -> None:
    assert len(template().encode()) <= 51_200  # TemplateBody of CreateChangeSet


def test_every_field_of_a_project_is_an_output(plain: Permissions) -> None:
    assert set(OUTPUTS.values()) <= set(plain.document["Outputs"])
    assert set(plain.document["Parameters"]) == set(PARAMETERS)


def test_everything_that_can_be_tagged_carries_the_project(plain: Permissions) -> None:
    untagged = {
        name
        for name, about in plain.document["Resources"].items()
        if {"Key": PROJECT_TAG, "Value": "motrail"} not in plain.resources[name].get("Tags", ())
        if about["Type"]
        not in ("AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::IAM::ManagedPolicy")
    }
    assert untagged == set()


def test_the_bucket_is_private_encrypted_and_open_to_browsers_of_workers(
    plain: Permissions, full: Permissions
) -> None:
    bucket = plain.resources["Bucket"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (rule,) = bucket["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedMethods"] == ["GET", "HEAD", "PUT"]

    def encryption(permissions: Permissions) -> dict[str, Any]:
        (rule,) = permissions.resources["Bucket"]["BucketEncryption"][
            "ServerSideEncryptionConfiguration"
        ]
        found: dict[str, Any] = rule["ServerSideEncryptionByDefault"]
        return found

    assert encryption(plain) == {"SSEAlgorithm": "AES256"}
    assert encryption(full) == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}


def test_unencrypted_connections_are_refused(plain: Permissions) -> None:
    policy = plain.resources["BucketPolicy"]["PolicyDocument"]["Statement"]
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    target = f"arn:aws:s3:::{PROJECT.bucket}/training/x"
    for secure, expected in (("true", True), ("false", False)):
        access = Access("s3:GetObject", target, {"aws:SecureTransport": secure})
        assert is_allowed([allow, *policy], access) is expected


def test_images_are_scanned_and_old_ones_go(plain: Permissions) -> None:
    for name in ("TrainingRepository", "ServingRepository"):
        repository = plain.resources[name]
        assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
        (rule,) = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
        assert rule["action"] == {"type": "expire"}


# The roles ---------------------------------------------------------------------------------------


def test_no_role_takes_a_policy_of_somebody_else(plain: Permissions) -> None:
    for role in ROLES:
        about = plain.document["Resources"][f"{role.capitalize()}Role"]["Properties"]
        assert all(set(each) == {"Ref"} for each in about["ManagedPolicyArns"])
        assert all(
            each["Ref"] in plain.document["Resources"] for each in about["ManagedPolicyArns"]
        )
    assert "FullAccess" not in template()


def test_only_sagemaker_takes_the_roles(plain: Permissions) -> None:
    for role in ROLES:
        trust = plain.resources[f"{role.capitalize()}Role"]["AssumeRolePolicyDocument"]
        (statement,) = trust["Statement"]
        assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
        if role != "labeling":
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


@pytest.mark.parametrize("values", [{}, EVERYTHING])
def test_no_wildcard_actions_and_few_wildcard_resources(values: dict[str, str]) -> None:
    anywhere = {
        # Have no resources in IAM (service authorization reference).
        "ecr:GetAuthorizationToken",
        "cloudwatch:PutMetricData",
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
    }
    for principal, statement in statements(Permissions(PROJECT, values)):
        assert statement["Effect"] == "Allow"
        stars = [action for action in actions(statement) if "*" in action]
        assert set(stars) <= {"kms:GenerateDataKey*"}, (principal, stars)
        if statement["Resource"] == "*" and principal in ROLES:
            assert set(actions(statement)) <= anywhere
        if statement["Resource"] == "*" and principal == OPERATOR and "Condition" not in statement:
            looks = re.compile(r"[a-z-]+:(Describe|List|Get)")
            assert all(looks.match(action) for action in actions(statement))


def test_every_action_is_one_that_the_service_has() -> None:
    session = botocore.session.get_session()
    names = {
        "s3": "s3", "ecr": "ecr", "logs": "logs", "cloudwatch": "cloudwatch", "kms": "kms",
        "ec2": "ec2", "sns": "sns", "iam": "iam", "sagemaker": "sagemaker", "pricing": "pricing",
        "servicequotas": "service-quotas", "cloudformation": "cloudformation",
        "application-autoscaling": "application-autoscaling", "greengrass": "greengrassv2",
    }  # fmt: skip
    # Permissions that are not called like an operation, or of which the operation is deprecated.
    other = {
        "s3:ListBucket", "s3:ListBucketVersions", "s3:DeleteObjectVersion",
        "s3:GetBucketCORS", "s3:PutBucketCORS", "s3:GetBucketPublicAccessBlock",
        "s3:PutBucketPublicAccessBlock", "s3:GetEncryptionConfiguration",
        "s3:PutEncryptionConfiguration", "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration", "iam:PassRole", "kms:GenerateDataKey*",
        "ec2:CreateNetworkInterfacePermission", "cloudformation:TagResource",
        "sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync",
    }  # fmt: skip
    for principal, statement in statements(Permissions(PROJECT, EVERYTHING)):
        for action in actions(statement):
            service, _, operation = action.partition(":")
            model = session.get_service_model(names[service])
            assert operation in model.operation_names or action in other, (principal, action)


def test_roles_have_only_services_that_their_work_uses(full: Permissions) -> None:
    def services(principal: str) -> set[str]:
        policy = full.policies[principal]
        return {a.partition(":")[0] for each in policy for a in actions(each)}

    instance = {"s3", "ecr", "logs", "cloudwatch", "kms", "ec2"}
    assert services("training") == instance
    assert services("processing") == instance
    assert services("serving") == instance | {"sns"}
    assert services("labeling") == {"s3", "logs", "cloudwatch", "kms"}
    without = Permissions(PROJECT)
    for role in ROLES:
        found = {a.partition(":")[0] for each in without.policies[role] for a in actions(each)}
        assert not found & {"kms", "ec2"}


def test_policies_fit_into_what_iam_takes(full: Permissions) -> None:
    def size(document: Any) -> int:
        return len(re.sub(r"\s", "", json.dumps(document)))

    for name, about in full.document["Resources"].items():
        if about["Type"] == "AWS::IAM::ManagedPolicy":
            assert size(full.resources[name]["PolicyDocument"]) <= _MANAGED_LIMIT, name
        if about["Type"] == "AWS::IAM::Role":
            assert size(full.resources[name]["Policies"]) <= _INLINE_LIMIT, name
    assert size(setup_policy("a" * 20, "ap-southeast-1")) <= _MANAGED_LIMIT


BUCKET = f"arn:aws:s3:::{PROJECT.bucket}"


@pytest.mark.parametrize(
    ("role", "action", "resource", "expected"),
    [
        ("training", "s3:GetObject", f"{BUCKET}/datasets/a/labels.txt", True),
        ("training", "s3:PutObject", f"{BUCKET}/training/j/output/model.tar.gz", True),
        ("training", "s3:DeleteObject", f"{BUCKET}/training/j/checkpoints/last.pt", True),
        ("training", "s3:PutObject", f"{BUCKET}/datasets/a/labels.txt", False),
        ("training", "s3:GetObject", f"{BUCKET}/batch/j/input/a.mp4", False),
        ("training", "s3:GetObject", "arn:aws:s3:::another/datasets/a", False),
        ("training", "sns:Publish", PROJECT.success_topic, False),
        ("serving", "sns:Publish", PROJECT.success_topic, True),
        ("serving", "sns:Publish", f"arn:aws:sns:eu-west-1:{ACCOUNT}:another", False),
        ("serving", "s3:GetObject", f"{BUCKET}/datasets/a/labels.txt", False),
        ("serving", "s3:PutObject", f"{BUCKET}/async/e/output/x.out", True),
        ("processing", "s3:PutObject", f"{BUCKET}/batch/j/tracks/a.txt", True),
        ("processing", "s3:DeleteObject", f"{BUCKET}/batch/j/tracks/a.txt", False),
        ("processing", "s3:GetObject", "arn:aws:s3:::footage/a.mp4", False),
        ("labeling", "s3:PutObject", f"{BUCKET}/labeling/j/manifest", True),
        ("labeling", "s3:GetObject", f"{BUCKET}/training/j/output/model.tar.gz", False),
        ("labeling", "ecr:GetAuthorizationToken", "*", False),
    ],
)  # fmt: skip
def test_a_role_may_do_its_work_and_no_other(
    plain: Permissions, role: str, action: str, resource: str, *, expected: bool
) -> None:
    assert plain.allows(role, Access(action, resource)) is expected


def test_key_network_and_other_buckets_are_allowed_where_they_are_given(full: Permissions) -> None:
    def eni(resource: str, **context: str) -> Access:
        arn = f"arn:aws:ec2:eu-west-1:{ACCOUNT}:{resource}"
        named = {f"ec2:{key}": value for key, value in context.items()}
        return Access("ec2:CreateNetworkInterface", arn, named)

    assert full.allows("training", Access("kms:Decrypt", KEY))
    assert full.allows("training", Access("kms:GenerateDataKeyWithoutPlaintext", KEY))
    assert not full.allows("training", Access("kms:Decrypt", KEY.replace("1234abcd", "ffffffff")))
    assert not full.allows("training", Access("kms:CreateGrant", KEY))
    assert full.allows("serving", eni("subnet/subnet-4e5f6a7b", SubnetID="subnet-4e5f6a7b"))
    assert not full.allows("serving", eni("subnet/subnet-99999999", SubnetID="subnet-99999999"))
    assert full.allows("serving", eni("network-interface/eni-1"))
    for bucket, expected in (("footage", True), ("archive", True), ("secrets", False)):
        read = Access("s3:GetObject", f"arn:aws:s3:::{bucket}/a.mp4")
        assert full.allows("processing", read) is expected
        assert full.allows("processing", Access("s3:ListBucket", f"arn:aws:s3:::{bucket}")) is (
            expected
        )
        assert not full.allows("training", read)
