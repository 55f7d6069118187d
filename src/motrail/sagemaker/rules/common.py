"""Rules about values that occur in requests of every kind: places, images, tags, secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.redact import has_secret
from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown, twice, value_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUCKET = re.compile(r"s3://([^/]*)(?:/(.*))?", re.DOTALL)
_BUCKET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?![.-])|(?<!-)\.)*[a-z0-9]")
_ADDRESS = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_RESERVED_BUCKET = re.compile(r"(xn--|sthree-|amzn-s3-demo-).*|.*(-s3alias|--ols-s3|\.mrap|--x-s3)")
_IMAGE = re.compile(r"[^\s/:@]+(:[0-9]+)?(/[^\s/:@]+)+(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?")
_REGION = re.compile(
    r"arn:aws[a-z-]*:(?:sagemaker|sns|lambda|ecr):([a-z0-9-]+):"
    r"|[0-9]{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws"
)
_MAX_KEY = 1024
_MAX_TAGS = 50
_MAX_TEMPLATE = 51_200


@value_rule("s3-uri", "S3Uri", "DestinationS3Uri", "S3ModelUri", "Url", "InputLocationHeader")
def s3_uri(value: str, path: str) -> Iterator[Problem]:
    """Amazon S3 user guide, "General purpose bucket naming rules" and "Naming objects".

    The service models also allow `https://`, which jobs do not read.
    """
    match = _BUCKET.fullmatch(value)
    if match is None:
        yield Problem(path, "s3://bucket/key", shown(value))
        return
    bucket, key = match[1], match[2] or ""
    if (
        not 3 <= len(bucket) <= 63
        or not _BUCKET_NAME.fullmatch(bucket)
        or ".." in bucket
        or _ADDRESS.fullmatch(bucket)
        or _RESERVED_BUCKET.fullmatch(bucket)
    ):
        expected = "a bucket of 3 to 63 small letters, digits, dots and hyphens"
        yield Problem(path, expected, shown(bucket))
    if len(key.encode()) > _MAX_KEY or not key.isprintable():
        expected = f"a key of at most {_MAX_KEY:,} bytes without control characters"
        yield Problem(path, expected, shown(key))


@value_rule("image", "AlgorithmImage", "ContainerImage", "ImageUri")
def image(value: str, path: str) -> Iterator[Problem]:
    """Our own rule: a container image has a tag or a digest, and the tag is not `latest`.

    What `latest` is changes, and then a job that is started again is another one. The form is
    that of `ContainerDefinition.Image` in SageMaker's service model.
    """
    match = _IMAGE.fullmatch(value)
    if match is None:
        yield Problem(path, "registry/repository:tag", shown(value))
    elif match[4] is None and match[3] in {None, ":latest"}:
        yield Problem(path, "an image with a tag other than latest", shown(value))


@value_rule("role-arn", "RoleArn")
def role_arn(value: str, path: str) -> Iterator[Problem]:
    """IAM user guide, "IAM and STS quotas": a role's name has at most 64 characters."""
    name = value.rpartition("/")[2]
    if not 1 <= len(name) <= 64:
        yield Problem(path, "a role whose name has 1 to 64 characters", f"{len(name)}")


@value_rule("tags", "TagList", "TagMap", "Tags")
def tags(value: Any, path: str) -> Iterator[Problem]:
    """AWS tagging guide, "Tag naming limits and requirements"; `Tag.Key` in the service model."""
    if isinstance(value, dict):
        keys = [str(key) for key in value]
    else:
        keys = [str(tag.get("Key")) for tag in value if isinstance(tag, dict)]
    for key in twice(keys):
        yield Problem(path, "each key once", f"{shown(key)} twice")
    for key in keys:
        if key.lower().startswith("aws:"):
            yield Problem(path, "a key that does not begin with aws:", shown(key))
    if len(keys) > _MAX_TAGS:
        yield Problem(path, f"at most {_MAX_TAGS} tags", f"{len(keys)}")


@rule(
    "one-region",
    "CreateTrainingJob",
    "CreateHyperParameterTuningJob",
    "CreateLabelingJob",
    "CreateModel",
    "CreateEndpointConfig",
    "CreateProcessingJob",
)
def one_region(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ContainerDefinition.Image`: all must be in the job's region."""
    regions = sorted({region for text in _texts(parameters) for region in _regions(text)})
    if len(regions) > 1:
        expected = "images, topics, teams and functions of one region"
        yield Problem("parameters", expected, ", ".join(regions))


def _regions(text: str) -> Iterator[str]:
    for match in _REGION.finditer(text):
        yield match[1] or match[2]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


@value_rule(
    "no-secrets",
    "HyperParameters",
    "TrainingEnvironmentMap",
    "HyperParameterTrainingJobEnvironmentMap",
    "ProcessingEnvironmentMap",
    "EnvironmentMap",
    "ContainerArguments",
    "TrainingContainerArguments",
    "TagList",
    "TagMap",
)
def no_secrets(value: Any, path: str) -> Iterator[Problem]:
    """SageMaker API reference, `CreateTrainingJob.HyperParameters`: no keys, secrets or tokens.

    They are shown to everyone who may describe the job.
    """
    named = isinstance(value, dict)
    for key, item in value.items() if named else enumerate(value):
        texts = list(_texts(item))
        if any(has_secret(f"{key}={text}" if named else text) for text in texts):
            where = f"{path}.{key}" if named else f"{path}[{key}]"
            yield Problem(where, "nothing secret", "an access key or a token")


@rule("template", "CreateStack", "UpdateStack", "CreateChangeSet", "ValidateTemplate")
def template(parameters: Parameters) -> Iterator[Problem]:
    """CloudFormation user guide, "Understand CloudFormation quotas": 51,200 bytes in a request."""
    body = parameters.get("TemplateBody")
    if isinstance(body, str) and len(body.encode()) > _MAX_TEMPLATE:
        expected = f"at most {_MAX_TEMPLATE:,} bytes; put it in a bucket and pass TemplateURL"
        yield Problem("TemplateBody", expected, f"{len(body.encode()):,}")
    if "TemplateBody" in parameters and "TemplateURL" in parameters:
        yield Problem("TemplateBody", "either TemplateBody or TemplateURL", "both")
