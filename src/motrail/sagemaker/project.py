"""What a stack holds: the names that every request begins with."""

from __future__ import annotations

import dataclasses
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import motrail
from motrail.errors import ConfigError
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests.stack import describe_stack

if TYPE_CHECKING:
    from motrail.config import SageMakerSettings
    from motrail.sagemaker.request import Cloud

PROJECT_TAG = "motrail:project"
"""Everything that is made carries this tag with the project's name; `cleanup` goes by it."""
OUTPUTS = {
    "bucket": "Bucket",
    "training_role": "TrainingRole",
    "serving_role": "ServingRole",
    "processing_role": "ProcessingRole",
    "labeling_role": "LabelingRole",
    "success_topic": "SuccessTopic",
    "error_topic": "ErrorTopic",
    "training_image": "TrainingRepository",
    "serving_image": "ServingRepository",
}
"""Field of a `Project` → output of the stack; images are a repository there, without a tag."""

_MAX_NAME = 63
_MAX_TUNING_NAME = 32
_TUNING = ("tune", "tuning")


@dataclass(frozen=True)
class Project:
    """The names of a stack's resources.

    Attributes:
        name: Of the stack; all names begin with it.
        region: As in eu-west-1.
        bucket: Where everything is kept.
        training_role: ARN of the role that training and tuning jobs run in.
        serving_role: Of endpoints.
        processing_role: Of processing jobs.
        labeling_role: Of labelling jobs.
        success_topic: ARN of the SNS topic that is told of asynchronous results.
        error_topic: Of asynchronous failures.
        training_image: URI of the image for training, with its tag.
        serving_image: Of the image for serving and processing.
    """

    name: str
    region: str
    bucket: str
    training_role: str
    serving_role: str
    processing_role: str
    labeling_role: str
    success_topic: str
    error_topic: str
    training_image: str
    serving_image: str

    def uri(self, *parts: str) -> str:
        """`s3://bucket/` and the parts, joined by slashes."""
        return "/".join([f"s3://{self.bucket}", *(part.strip("/") for part in parts)])

    def tags(self, **more: str) -> list[dict[str, str]]:
        """The tag that `cleanup` goes by, and others as `motrail:<name>`."""
        own = {PROJECT_TAG: self.name}
        own |= {f"motrail:{name}": value for name, value in more.items()}
        return [{"Key": key, "Value": value} for key, value in own.items()]

    def unique(self, kind: str, limit: int | None = None) -> str:
        """A new name as in `motrail-train-20261123-191500-3f2a`.

        Names that begin alike sort by time (UTC). SageMaker takes letters, digits and hyphens,
        63 characters for most and 32 for tuning jobs. Where there is no room the time is
        shortened, then the name of the project; the tag still finds it.

        Args:
            kind: What it is for; `tune` and `tuning` are held to 32 characters.
            limit: Most characters. [default: by kind]
        """
        room = limit or (_MAX_TUNING_NAME if kind in _TUNING else _MAX_NAME)
        now, unlike = datetime.now(UTC), secrets.token_hex(2)
        kind = re.sub(r"[^A-Za-z0-9]+", "-", kind).strip("-")
        long = f"{self.name}-{kind}-{now:%Y%m%d-%H%M%S}-{unlike}"
        if len(long) <= room:
            return long
        end = f"-{now:%y%m%d-%H%M%S}-{unlike}"  # twelve digits on end look like an account
        start = f"{self.name}-{kind}"
        if len(start) + len(end) > room:  # the kind says more than the project
            start = f"{self.name[: max(room - len(end) - len(kind) - 1, 1)].rstrip('-')}-{kind}"
        return start[: room - len(end)].rstrip("-") + end


def find_project(cloud: Cloud, settings: SageMakerSettings) -> Project:
    """The names of the stack that `motrail sagemaker setup` made.

    Raises:
        ConfigError: There is no such stack, it is not ready, or it is another program's.
        CloudError: AWS refuses to tell.
    """
    setup = f"run: motrail sagemaker setup --stack {settings.stack}"
    if cloud.rehearsal:
        setup += " --yes --rehearse, with the same folder"
    try:
        stack = cloud.call(describe_stack(settings.stack))["Stacks"][0]
    except CloudError as error:
        if "does not exist" in str(error):
            raise ConfigError(
                f"there is no stack {settings.stack!r} in {cloud.region}; {setup}"
            ) from error
        raise
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", ())}
    missing = [name for name in OUTPUTS.values() if name not in outputs]
    if missing:
        raise ConfigError(
            f"the stack {settings.stack!r} is {stack.get('StackStatus', 'unknown')} and has no "
            f"output {', '.join(missing)}; {setup}"
        )
    found = {field: outputs[name] for field, name in OUTPUTS.items()}
    for field in ("training_image", "serving_image"):
        found[field] = f"{found[field]}:{motrail.__version__}"
    return Project(name=settings.stack, region=cloud.region, **found)


def as_dict(project: Project) -> dict[str, str]:
    """The fields by their names."""
    return dataclasses.asdict(project)
