"""The IAM policy of those who make and delete the stack: plain data."""

from __future__ import annotations

from typing import Any

from motrail.sagemaker.requests.stack import partition

_STACK = ("CreateChangeSet", "DeleteChangeSet", "DeleteStack", "DescribeChangeSet",
          "DescribeStackEvents", "DescribeStacks", "ExecuteChangeSet", "TagResource")  # fmt: skip
_BUCKET = (
    "CreateBucket", "DeleteBucket", "DeleteBucketPolicy", "GetBucketAcl", "GetBucketCORS",
    "GetBucketOwnershipControls", "GetBucketPolicy", "GetBucketPublicAccessBlock",
    "GetBucketTagging", "GetEncryptionConfiguration", "GetLifecycleConfiguration", "ListBucket",
    "ListBucketVersions", "PutBucketCORS", "PutBucketOwnershipControls", "PutBucketPolicy",
    "PutBucketPublicAccessBlock", "PutBucketTagging", "PutEncryptionConfiguration",
    "PutLifecycleConfiguration",
)  # fmt: skip
_IMAGES = (
    "BatchDeleteImage", "CreateRepository", "DeleteRepository", "DescribeRepositories",
    "GetLifecyclePolicy", "ListImages", "ListTagsForResource", "PutImageScanningConfiguration",
    "PutLifecyclePolicy", "TagResource", "UntagResource",
)  # fmt: skip
_ROLES = (
    "AttachRolePolicy", "CreateRole", "DeleteRole", "DeleteRolePolicy", "DetachRolePolicy",
    "GetRole", "GetRolePolicy", "ListAttachedRolePolicies", "ListRolePolicies", "PutRolePolicy",
    "TagRole", "UntagRole", "UpdateAssumeRolePolicy", "UpdateRole",
)  # fmt: skip
_POLICIES = (
    "CreatePolicy", "CreatePolicyVersion", "DeletePolicy", "DeletePolicyVersion", "GetPolicy",
    "GetPolicyVersion", "ListEntitiesForPolicy", "ListPolicyVersions",
)  # fmt: skip
_TOPICS = (
    "CreateTopic", "DeleteTopic", "GetTopicAttributes", "ListSubscriptionsByTopic",
    "ListTagsForResource", "SetTopicAttributes", "TagResource", "UntagResource",
)  # fmt: skip


def setup_policy(stack: str, region: str | None = None) -> dict[str, Any]:
    """What somebody has to be allowed who makes, changes or deletes the stack.

    CloudFormation does what the template says in the name of who asks it; this is what it then
    calls, and for no other names than the stack's.

    Args:
        stack: Name of the stack.
        region: Where; any region if None.
    """
    where = region or "*"
    arn = f"arn:{partition(region or '')}"
    stacks = f"{arn}:cloudformation:{where}:*:stack/{stack}/*"
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("Stack", "cloudformation", _STACK, stacks),
            _allow("Bucket", "s3", _BUCKET, f"{arn}:s3:::{stack}-bucket-*"),
            _allow("Objects", "s3", ("DeleteObject", "DeleteObjectVersion"),
                   f"{arn}:s3:::{stack}-bucket-*/*"),
            _allow("Images", "ecr", _IMAGES, f"{arn}:ecr:{where}:*:repository/{stack}/*"),
            _allow("Roles", "iam", _ROLES, f"{arn}:iam::*:role/{stack}-*"),
            _allow("Policies", "iam", _POLICIES, f"{arn}:iam::*:policy/{stack}-*"),
            _allow("Topics", "sns", _TOPICS, f"{arn}:sns:{where}:*:{stack}-*"),
        ],
    }  # fmt: skip


def _allow(sid: str, service: str, operations: tuple[str, ...], resource: str) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"{service}:{operation}" for operation in operations],
        "Resource": resource,
    }
