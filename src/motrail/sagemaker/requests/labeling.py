"""Requests about Ground Truth labelling jobs: plain data in and a `Request` out.

Names of the worker's page and of the functions before and after it, and the accounts they belong
to, are those of the SageMaker API reference: "UiConfig", "HumanTaskConfig" and
"AnnotationConsolidationConfig".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from motrail.errors import ConfigError
from motrail.sagemaker.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.config import SageMakerSettings
    from motrail.sagemaker.project import Project

Kind = Literal["label", "adjust", "verify"]

ACCOUNTS = {
    "us-east-1": "432418664414",
    "us-east-2": "266458841044",
    "us-west-2": "081040173940",
    "ca-central-1": "918755190332",
    "eu-west-1": "568282634449",
    "eu-west-2": "487402164563",
    "eu-central-1": "203001061592",
    "ap-northeast-1": "477331159723",
    "ap-northeast-2": "845288260483",
    "ap-south-1": "565803892007",
    "ap-southeast-1": "377565633583",
    "ap-southeast-2": "454466003867",
}
"""Region → account whose functions Ground Truth calls before and after a task."""
_UI_ACCOUNT = "394669845002"
_TASKS = {
    "label": "VideoObjectTracking",
    "adjust": "AdjustmentVideoObjectTracking",
    "verify": "AdjustmentVideoObjectTracking",
}
_DAY = 86_400
_TITLES = {
    "label": "Track objects in a video",
    "adjust": "Adjust the boxes of tracked objects in a video",
    "verify": "Check the boxes of tracked objects in a video",
}
_DESCRIPTIONS = {
    "label": "Draw a box around each object in all frames; one object keeps one name.",
    "adjust": "Correct the boxes that are there; one object keeps one name in all frames.",
    "verify": "Say of the boxes that are there whether they are right.",
}


@dataclass(frozen=True)
class LabelingOrder:
    """What a labelling job is to do.

    Attributes:
        name: Of the job; its labels are `<name>-ref`.
        kind: `label` from nothing, `adjust` labels that are there, or `verify` them.
        manifest: `s3://` URI of the input manifest.
        categories: `s3://` URI of the label category file.
        output: `s3://` prefix below which Ground Truth makes a folder with the job's name.
        workteam: ARN of the team.
        hours: Time a worker has for a sequence.
    """

    name: str
    kind: Kind
    manifest: str
    categories: str
    output: str
    workteam: str
    hours: float = 168.0


def label_attribute(job: str) -> str:
    """The name under which a job's labels stand in manifests; for video it ends in `-ref`."""
    return f"{job}-ref"


def task_account(region: str) -> str:
    """The account whose functions Ground Truth calls in a region.

    Raises:
        ConfigError: AWS has none for this task there.
    """
    if region not in ACCOUNTS:
        raise ConfigError(
            f"region {region}: expected one in which Ground Truth labels video "
            f"({', '.join(sorted(ACCOUNTS))}); choose it with --region"
        )
    return ACCOUNTS[region]


def create_labeling_job(
    order: LabelingOrder, project: Project, settings: SageMakerSettings
) -> Request:
    """A job of the task type video frame object tracking, with boxes.

    Raises:
        ConfigError: There is no such task in the region, or the time makes no sense.
    """
    account = task_account(project.region)
    task, region = _TASKS[order.kind], project.region
    seconds = round(order.hours * 3600)
    if not 30 <= seconds <= 30 * _DAY:
        raise ConfigError(f"--hours: expected up to 720 (30 days), found {order.hours:g}")
    output: dict[str, Any] = {"S3OutputPath": f"{order.output.rstrip('/')}/"}
    if settings.kms_key is not None:
        output["KmsKeyId"] = settings.kms_key
    functions = f"arn:aws:lambda:{region}:{account}:function"
    return Request(
        "sagemaker",
        "CreateLabelingJob",
        {
            "LabelingJobName": order.name,
            "LabelAttributeName": label_attribute(order.name),
            "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": order.manifest}}},
            "OutputConfig": output,
            "RoleArn": project.labeling_role,
            "LabelCategoryConfigS3Uri": order.categories,
            "HumanTaskConfig": {
                "WorkteamArn": order.workteam,
                "UiConfig": {
                    "HumanTaskUiArn": (
                        f"arn:aws:sagemaker:{region}:{_UI_ACCOUNT}:human-task-ui/"
                        "VideoObjectTracking"
                    )
                },
                "PreHumanTaskLambdaArn": f"{functions}:PRE-{task}",
                "TaskTitle": _TITLES[order.kind],
                "TaskDescription": _DESCRIPTIONS[order.kind],
                "NumberOfHumanWorkersPerDataObject": 1,
                "TaskTimeLimitInSeconds": seconds,
                "TaskAvailabilityLifetimeInSeconds": 30 * _DAY,
                "AnnotationConsolidationConfig": {
                    "AnnotationConsolidationLambdaArn": f"{functions}:ACS-{task}"
                },
            },
            "Tags": project.tags(job=order.name),
        },
    )


def describe_labeling_job(name: str) -> Request:
    """How a labelling job is doing."""
    return Request("sagemaker", "DescribeLabelingJob", {"LabelingJobName": name})


def stop_labeling_job(name: str) -> Request:
    """End a labelling job; what is done is kept."""
    return Request("sagemaker", "StopLabelingJob", {"LabelingJobName": name})


def category_file(written: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The label category file of a job.

    Args:
        written: That of an adjustment job, as `GroundTruthWriter` writes it.
        kind: What is to be done.

    Returns:
        For `label` without what only jobs about other labels may say; for `verify` with nothing
        that may be edited but a verdict on each box and each frame.
    """
    found = dict(written)
    attributes = ("categoryGlobalAttributes", "frameAttributes")
    if kind == "label":
        found.pop("auditLabelAttributeName", None)
        for key in ("labels", *attributes):
            found[key] = [
                {name: value for name, value in one.items() if name != "editsAllowed"}
                for one in found.get(key, ())
            ]
        found["instructions"] = {
            "shortInstruction": "Draw a box around each object; it keeps its name in all frames.",
            "fullInstruction": (
                "<p>Draw each box tightly around the whole object. An object that leaves and comes "
                "back keeps its name.</p>"
            ),
        }
    if kind == "verify":
        for key in ("labels", *attributes):
            found[key] = [{**one, "editsAllowed": "none"} for one in found.get(key, ())]
        verdict = {"type": "string", "enum": ["right", "wrong"], "editsAllowed": "any"}
        for key, about in zip(attributes, ("Is this box right?", "Are all there?"), strict=True):
            found[key] = [*found[key], {"name": "verdict", "description": about, **verdict}][-10:]
        found["instructions"] = {
            "shortInstruction": "Say of each box whether it is right.",
            "fullInstruction": "<p>A wrong box is loose, of nothing, or has another's name.</p>",
        }
    return found
