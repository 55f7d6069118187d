"""A cloud that answers what was written down for it, and a project to go with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.project import Project
from motrail.sagemaker.request import CloudError, ObjectInfo, Request
from motrail.sagemaker.requests.admin import ENDPOINT, ENDPOINT_CONFIG, JOBS, MODEL, Kind
from motrail.sagemaker.rules import check

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
NO_LOGS = CloudError("The specified log group does not exist.", code="ResourceNotFoundException")
NOT_THERE = CloudError("Stack with id motrail does not exist", code="ValidationError")

PROJECT = Project(
    name="motrail",
    region="eu-west-1",
    bucket="motrail-bucket-1a2b3c",
    training_role=f"arn:aws:iam::{ACCOUNT}:role/motrail-TrainingRole-1A2B",
    serving_role=f"arn:aws:iam::{ACCOUNT}:role/motrail-ServingRole-1A2B",
    processing_role=f"arn:aws:iam::{ACCOUNT}:role/motrail-ProcessingRole-1A2B",
    labeling_role=f"arn:aws:iam::{ACCOUNT}:role/motrail-LabelingRole-1A2B",
    success_topic=f"arn:aws:sns:eu-west-1:{ACCOUNT}:motrail-SuccessTopic-1A2B",
    error_topic=f"arn:aws:sns:eu-west-1:{ACCOUNT}:motrail-ErrorTopic-1A2B",
    training_image=f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/motrail/train:0.1.0",
    serving_image=f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/motrail/serve:0.1.0",
)
OUTPUTS = [
    {"OutputKey": "Bucket", "OutputValue": PROJECT.bucket},
    {"OutputKey": "TrainingRole", "OutputValue": PROJECT.training_role},
    {"OutputKey": "ServingRole", "OutputValue": PROJECT.serving_role},
    {"OutputKey": "ProcessingRole", "OutputValue": PROJECT.processing_role},
    {"OutputKey": "LabelingRole", "OutputValue": PROJECT.labeling_role},
    {"OutputKey": "SuccessTopic", "OutputValue": PROJECT.success_topic},
    {"OutputKey": "ErrorTopic", "OutputValue": PROJECT.error_topic},
    {
        "OutputKey": "TrainingRepository",
        "OutputValue": PROJECT.training_image.removesuffix(":0.1.0"),
    },
    {
        "OutputKey": "ServingRepository",
        "OutputValue": PROJECT.serving_image.removesuffix(":0.1.0"),
    },
]

Answer = dict[str, Any] | CloudError | Callable[[dict[str, Any]], dict[str, Any]]


class Fake:
    """Checks every request as the real cloud does; one that nothing was planted for is an error.

    Of several answers each is given once, the last one again and again.
    """

    region = "eu-west-1"

    def __init__(self, *, rehearsal: bool = False) -> None:
        self.rehearsal = rehearsal
        self.calls: list[Request] = []
        self.slept: list[float] = []
        self.stored: list[ObjectInfo] = []
        self._answers: dict[str, list[Answer]] = {}

    def plant(self, operation: str, *answers: Answer) -> None:
        self._answers[operation] = list(answers)

    def operations(self) -> list[str]:
        return [request.operation for request in self.calls]

    def sent(self, operation: str) -> list[dict[str, Any]]:
        return [request.parameters for request in self.calls if request.operation == operation]

    def call(self, request: Request) -> dict[str, Any]:
        check(request)
        self.calls.append(request)
        answers = self._answers[request.operation]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, CloudError):
            raise answer
        return answer(request.parameters) if callable(answer) else answer

    def pages(self, request: Request, key: str) -> Iterator[Any]:
        answer = self.call(request)
        yield from answer.get(key, ())
        if "NextToken" in answer:
            more = request.parameters | {"NextToken": answer["NextToken"]}
            yield from self.pages(request._replace(parameters=more), key)

    def upload(self, path: Path, uri: str, *, tell: Callable[[int], None] | None = None) -> None:
        raise NotImplementedError

    def download(self, uri: str, path: Path, *, tell: Callable[[int], None] | None = None) -> None:
        raise NotImplementedError

    def objects(self, uri: str) -> Iterator[ObjectInfo]:
        return (item for item in list(self.stored) if item.uri.startswith(uri))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Account(Fake):
    """A fake that keeps endpoints, configs, models and jobs, and forgets what is deleted.

    Args:
        project: Whose things are added, unless they are said to be somebody else's.
    """

    KINDS = (ENDPOINT, ENDPOINT_CONFIG, MODEL, *JOBS)

    def __init__(self, project: str = "motrail") -> None:
        super().__init__()
        self.project = project
        self.things: dict[str, dict[str, dict[str, Any]]] = {k.title: {} for k in self.KINDS}
        self.tags: dict[str, str] = {}
        for kind in self.KINDS:
            self.plant(kind.operation, self._lister(kind))
            self.plant(kind.end, self._ender(kind))
            describe = kind.operation.replace("List", "Describe").removesuffix("s")
            self.plant(describe, self._describer(kind))
            if kind.forget is not None:
                self.plant(kind.forget, self._forgetter(kind))
        self.plant("ListTags", self._list_tags)
        self.plant("DescribeScalableTargets", {"ScalableTargets": []})
        self.plant("DescribeAlarms", {"MetricAlarms": []})
        self.plant("DescribeLogGroups", {"logGroups": []})
        self.plant("DescribeLogStreams", NO_LOGS)
        self.plant("DescribeStacks", NOT_THERE)
        self.plant("GetProducts", {"PriceList": []})

    def add(
        self, kind: Kind, name: str, status: str = "", owner: str | None = "", **about: Any
    ) -> str:
        """A new thing; `owner` is the value of its tag, None for no tag. Gives its ARN."""
        arn = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:{kind.title.replace(' ', '-')}/{name}"
        entry = {kind.name: name, kind.arn: arn, **about}
        if kind.status is not None:
            entry[kind.status] = status
        self.things[kind.title][name] = entry
        if owner is not None:
            self.tags[arn] = owner or self.project
        return arn

    def names(self, kind: Kind) -> list[str]:
        return list(self.things[kind.title])

    def _list_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        owner = self.tags.get(given["ResourceArn"])
        return {"Tags": [] if owner is None else [{"Key": "motrail:project", "Value": owner}]}

    def _lister(self, kind: Kind) -> Answer:
        def answer(given: dict[str, Any]) -> dict[str, Any]:
            status, part = given.get("StatusEquals"), given.get("NameContains", "")
            found = [
                entry
                for name, entry in self.things[kind.title].items()
                if part in name and (status is None or entry[kind.status or ""] == status)
            ]
            # One to a page, so that nobody forgets to turn it.
            start = int(given.get("NextToken", 0))
            more = {"NextToken": str(start + 1)} if start + 1 < len(found) else {}
            return {kind.items: found[start : start + 1], **more}

        return answer

    def _find(self, kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
        name = given[kind.name]
        if name not in self.things[kind.title]:
            raise CloudError(f'Could not find {kind.title} "{name}".', code="ValidationException")
        return self.things[kind.title][name]

    def _describer(self, kind: Kind) -> Answer:
        return lambda given: self._find(kind, given)

    def _ender(self, kind: Kind) -> Answer:
        def answer(given: dict[str, Any]) -> dict[str, Any]:
            found = self._find(kind, given)
            if kind in JOBS:
                found[kind.status or ""] = "Stopped"
            else:
                del self.things[kind.title][given[kind.name]]
            return {}

        return answer

    def _forgetter(self, kind: Kind) -> Answer:
        def answer(given: dict[str, Any]) -> dict[str, Any]:
            self._find(kind, given)
            del self.things[kind.title][given[kind.name]]
            return {}

        return answer
