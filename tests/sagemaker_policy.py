"""Who may do what: the policies of stack.yaml, and what each request needs of them.

`Permissions(project).refused(request)` is what nobody would be allowed to do: what the request
itself needs of the person who sends it, and what SageMaker then does in the role that it names.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.template import Resolver, parameters, read
from motrail.sagemaker.requests.policy import setup_policy
from motrail.sagemaker.requests.stack import template
from sagemaker_roles import ACCOUNT, Access, implied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Request

TAG = "motrail:project"
OPERATOR, SETUP = "operator", "setup"
ROLES = ("training", "serving", "processing", "labeling")

Statement = dict[str, Any]


# Statements --------------------------------------------------------------------------------------


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` for any characters, `?` for one; brackets are no wildcards."""
    literal = re.sub(r"\[", "[[]", pattern)
    return fnmatch.fnmatchcase(text, literal)


def applies(statement: Statement, access: Access) -> bool:
    if not set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}:
        raise NotImplementedError(f"statement with {sorted(statement)}")
    action = access.action.lower()
    return (
        any(matches(each.lower(), action) for each in listed(statement["Action"]))
        and any(matches(each, access.resource) for each in listed(statement["Resource"]))
        and all(
            holds(operator, key, wanted, access.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def holds(operator: str, key: str, wanted: Any, context: Mapping[str, Any]) -> bool:
    """Whether one condition holds; a key that the request does not have makes it false."""
    if key not in context:
        return False
    found = str(context[key])
    match operator:
        case "StringEquals":
            return found in listed(wanted)
        case "StringLike":
            return any(matches(each, found) for each in listed(wanted))
        case "Bool":
            return found.lower() in [str(each).lower() for each in listed(wanted)]
    raise NotImplementedError(f"condition {operator}")


def is_allowed(statements: Iterable[Statement], access: Access) -> bool:
    """Allowed by one statement and denied by none."""
    effects = {each["Effect"] for each in statements if applies(each, access)}
    return "Allow" in effects and "Deny" not in effects


# Requests ----------------------------------------------------------------------------------------

_RESOURCES = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "LabelingJobName": "labeling-job",
    "ModelName": "model",
    "ProcessingJobName": "processing-job",
    "TrainingJobName": "training-job",
}
"""Parameter of SageMaker → type of the resource in ARNs (service authorization reference)."""
_BUCKET_ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "DeleteBucket": "DeleteBucket",
}
_OBJECT_ACTIONS = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObject": "DeleteObject",
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "PutObject": "PutObject",
    "UploadPart": "PutObject",
}
_ANYWHERE = (
    "application-autoscaling", "ecr", "greengrassv2", "logs", "pricing", "service-quotas", "sns",
)  # fmt: skip
"""Services of which some or all actions are on no resource in particular, or looked at as such."""
_PREFIXES = {
    "greengrassv2": "greengrass",
    "sagemaker-runtime": "sagemaker",
    "service-quotas": "servicequotas",
}
"""How actions of a service begin, where not like boto3's name of it."""
_TAGGED = {
    "cloudformation": "cloudformation:TagResource",
    "sagemaker": "sagemaker:AddTags",
    "cloudwatch": "cloudwatch:TagResource",
    "application-autoscaling": "application-autoscaling:TagResource",
    "greengrassv2": "greengrass:TagResource",
}
"""What a request with tags needs besides."""


class Permissions:
    """The policies of a stack.

    Args:
        project: The names of its resources.
        values: Parameters of the template, by name.
    """

    def __init__(self, project: Project, values: Mapping[str, str] | None = None) -> None:
        self.project = project
        self.document = read(template())
        given = {"Project": project.name} | dict(values or {})
        chosen = [{"ParameterKey": key, "ParameterValue": v} for key, v in given.items()]
        self.values = parameters(self.document, chosen, {})
        self._resolver = Resolver(
            self.document, project.name, project.region, self.values, self._attribute
        )
        self.resources: dict[str, Any] = {
            name: self._resolver.value(about.get("Properties", {}))
            for name, about in self.document["Resources"].items()
        }
        self.policies = {role: self._role(role) for role in ROLES}
        self.policies[OPERATOR] = self._managed("OperatorPolicy")
        self.policies[SETUP] = setup_policy(project.name, project.region)["Statement"]

    def _attribute(self, name: str, attribute: str) -> str:
        project, kind = self.project, self.document["Resources"][name]["Type"]
        if name == "Bucket":
            return f"arn:aws:s3:::{project.bucket}" if attribute == "Arn" else project.bucket
        if kind == "AWS::IAM::Role" and attribute == "Arn":
            return str(getattr(project, f"{name.removesuffix('Role').lower()}_role"))
        if kind == "AWS::ECR::Repository" and attribute == "Arn":
            return self.repository("train" if name.startswith("Training") else "serve")
        if kind == "AWS::SNS::Topic" and not attribute:
            return project.success_topic if name.startswith("Success") else project.error_topic
        return f"{name}.{attribute}"

    def repository(self, part: str) -> str:
        return f"arn:aws:ecr:{self.project.region}:{ACCOUNT}:repository/{self.project.name}/{part}"

    def _managed(self, name: str) -> list[Statement]:
        found: list[Statement] = self.resources[name]["PolicyDocument"]["Statement"]
        return found

    def _role(self, role: str) -> list[Statement]:
        about = self.document["Resources"][f"{role.capitalize()}Role"]["Properties"]
        shared = [each["Ref"] for each in about["ManagedPolicyArns"]]
        statements = [each for name in shared for each in self._managed(name)]
        for policy in self.resources[f"{role.capitalize()}Role"]["Policies"]:
            statements += policy["PolicyDocument"]["Statement"]
        return statements

    def allows(self, principal: str, access: Access) -> bool:
        """Whether a role, the operator or who sets up may do this."""
        return is_allowed(self.policies[principal], access)

    def allowed(self, principal: str, request: Request) -> bool:
        """Whether a principal may do all that a request asks of it."""
        needed = [access for who, access in self.needs(request) if who == principal]
        return all(self.allows(principal, access) for access in needed)

    def refused(
        self, request: Request, tags: Mapping[str, str] | None = None
    ) -> list[tuple[str, Access]]:
        """What a request needs and nobody may do.

        Args:
            request: Any that our code makes.
            tags: Of what it is about, if that exists; the project's own if left out.

        Raises:
            NotImplementedError: It is not known what the request needs.
        """
        return [
            (who, access)
            for who, access in self.needs(request, tags)
            if not self.allows(who, access)
        ]

    def needs(
        self, request: Request, tags: Mapping[str, str] | None = None
    ) -> Iterator[tuple[str, Access]]:
        """Who has to be allowed what for a request to be done."""
        person = [*self._of_person(request, {TAG: self.project.name} if tags is None else tags)]
        # CloudFormation, and what only deletes the bucket, is for those who set up.
        by_operator = request.service != "cloudformation" or request.operation == "DescribeStacks"
        by_operator &= request.operation not in ("ListObjectVersions", "DeleteBucket")
        by_operator &= not any(access.action == "s3:DeleteObjectVersion" for access in person)
        for access in person:
            yield (OPERATOR if by_operator else SETUP), access
        yield from implied(request, self.project)

    def _of_person(self, request: Request, tags: Mapping[str, str]) -> Iterator[Access]:
        service = request.service
        given = request.parameters
        context = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
        context |= {f"aws:RequestTag/{key}": value for key, value in _tags(given).items()}
        if service == "s3":
            yield from _of_s3(request)
            return
        if service == "sts":
            return  # who one is, everybody may ask
        action = f"{_PREFIXES.get(service, service)}:{request.operation}"
        if service == "iam":
            raise NotImplementedError(action)
        for resource in self._resources(request):
            yield Access(action, resource, context)
            if _tags(given):
                yield Access(_TAGGED[service], resource, context)
        for role in _role_arns(given):
            yield Access("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})

    def _resources(self, request: Request) -> list[str]:
        service, given = request.service, request.parameters
        where = f"{self.project.region}:{ACCOUNT}"
        found: list[str] = []
        if service in ("sagemaker", "sagemaker-runtime"):
            kinds = [(kind, given[key]) for key, kind in _RESOURCES.items() if key in given]
            found = [f"arn:aws:sagemaker:{where}:{kind}/{name}" for kind, name in kinds]
        elif service == "cloudformation":
            name = str(given["StackName"])
            arn = f"arn:aws:cloudformation:{where}:stack/{name}/0a1b2c3d"
            found = [f"{name}/0a1b2c3d" if name.startswith("arn:") else arn]
        elif service == "logs" and "logGroupName" in given:
            deleted = request.operation == "DeleteLogStream"
            stream = f"log-stream:{given['logStreamName']}" if deleted else "*"
            found = [f"arn:aws:logs:{where}:log-group:{given['logGroupName']}:{stream}"]
        elif service == "ecr" and "repositoryName" in given:
            found = [f"arn:aws:ecr:{where}:repository/{given['repositoryName']}"]
        elif service == "sns" and "TopicArn" in given:
            found = [given["TopicArn"]]
        elif service == "cloudwatch":
            names = [given.get("AlarmName"), *given.get("AlarmNames", ())]
            found = [f"arn:aws:cloudwatch:{where}:alarm:{name}" for name in names if name]
        elif service not in _ANYWHERE:
            raise NotImplementedError(service)
        return found or ["*"]


def _of_s3(request: Request) -> Iterator[Access]:
    given = request.parameters
    bucket = f"arn:aws:s3:::{given['Bucket']}"
    if request.operation in _BUCKET_ACTIONS:
        yield Access(f"s3:{_BUCKET_ACTIONS[request.operation]}", bucket)
    elif request.operation == "DeleteObjects":
        for item in given["Delete"]["Objects"]:
            action = "DeleteObjectVersion" if "VersionId" in item else "DeleteObject"
            yield Access(f"s3:{action}", f"{bucket}/{item['Key']}")
    elif request.operation in _OBJECT_ACTIONS:
        yield Access(f"s3:{_OBJECT_ACTIONS[request.operation]}", f"{bucket}/{given['Key']}")
    else:
        raise NotImplementedError(f"s3 {request.operation}")


def _tags(given: Mapping[str, Any]) -> dict[str, str]:
    tags = given.get("Tags") or given.get("tags") or {}
    if isinstance(tags, dict):
        return dict(tags)
    return {each["Key"]: each["Value"] for each in tags}


def _role_arns(node: Any) -> Iterator[str]:
    """Every role that a request names, wherever it stands."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("RoleArn", "ExecutionRoleArn") and isinstance(value, str):
                yield value
            else:
                yield from _role_arns(value)
    elif isinstance(node, list):
        for each in node:
            yield from _role_arns(each)
