"""Rules about Ground Truth labelling jobs for video."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError
from motrail.sagemaker.requests.labeling import ACCOUNTS
from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.sagemaker.request import Request

_LABEL = "CreateLabelingJob"
_LAMBDA = re.compile(r"arn:aws[a-z-]*:lambda:([a-z0-9-]+):([0-9]{12}):function:(PRE|ACS)-(\w+)")
_UI = re.compile(r"arn:aws[a-z-]*:sagemaker:([a-z0-9-]+):394669845002:human-task-ui/(\w+)")
_PAGES = {
    "VideoObjectTracking": "VideoObjectTracking",
    "AdjustmentVideoObjectTracking": "VideoObjectTracking",
}
_LONGEST = 30 * 86_400


def _is_video(parameters: Parameters) -> bool:
    return "Video" in parameters["HumanTaskConfig"].get("PreHumanTaskLambdaArn", "Video")


@rule("label-attribute", _LABEL)
def label_attribute(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `CreateLabelingJob.LabelAttributeName`: for video it ends `-ref`."""
    name = parameters["LabelAttributeName"]
    if _is_video(parameters) and not name.endswith("-ref"):
        yield Problem("LabelAttributeName", "a name that ends in -ref", shown(name))
    if name.endswith("-metadata"):
        yield Problem("LabelAttributeName", "a name that does not end in -metadata", shown(name))


def check_audit(request: Request, audited: str) -> None:
    """See that an adjustment or verification job writes beside the labels it looks at.

    The audited attribute stands in the label category file and not in the request (SageMaker API
    reference, `CreateLabelingJob.LabelAttributeName`).

    Args:
        request: `CreateLabelingJob`.
        audited: `auditLabelAttributeName` of the label category file.

    Raises:
        ConfigError: The two are the same.
    """
    if request.parameters["LabelAttributeName"] == audited:
        raise ConfigError(
            f"sagemaker CreateLabelingJob: LabelAttributeName: expected another one than the "
            f"labels looked at have, found {audited!r} twice [rule label-audit]"
        )


@rule("workers", _LABEL)
def workers(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Create a video frame labeling job": one worker a sequence."""
    number = parameters["HumanTaskConfig"]["NumberOfHumanWorkersPerDataObject"]
    if _is_video(parameters) and number != 1:
        path = "HumanTaskConfig.NumberOfHumanWorkersPerDataObject"
        yield Problem(path, "1 for video", f"{number}")


@rule("workteam", _LABEL)
def workteam(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Video frame labeling": no Mechanical Turk, no price."""
    task = parameters["HumanTaskConfig"]
    if "/public-crowd/" in task["WorkteamArn"]:
        expected = "a private or vendor team for video"
        yield Problem("HumanTaskConfig.WorkteamArn", expected, "Mechanical Turk")
    if "PublicWorkforceTaskPrice" in task:
        expected = "none for a private or vendor team"
        yield Problem("HumanTaskConfig.PublicWorkforceTaskPrice", expected, "a price")


@rule("no-algorithm", _LABEL)
def no_algorithm(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Automate data labeling": not for video."""
    if _is_video(parameters) and "LabelingJobAlgorithmsConfig" in parameters:
        yield Problem("LabelingJobAlgorithmsConfig", "none for video", "one")


@rule("label-input", _LABEL)
def label_input(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Input manifest for video": a manifest in S3, and categories."""
    source = parameters["InputConfig"]["DataSource"]
    if set(source) != {"S3DataSource"}:
        found = " and ".join(source) or "none"
        yield Problem("InputConfig.DataSource", "S3DataSource", found)
    if "LabelCategoryConfigS3Uri" not in parameters:
        yield Problem("LabelCategoryConfigS3Uri", "the label category file", "none")


@rule("label-functions", _LABEL)
def label_functions(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `HumanTaskConfig.PreHumanTaskLambdaArn` and `UiConfig`.

    The function before a task, the one after it and the worker's page are of one task type, and
    the functions belong to the account that Ground Truth has in that region.
    """
    task = parameters["HumanTaskConfig"]
    before = task.get("PreHumanTaskLambdaArn", "")
    config = task.get("AnnotationConsolidationConfig", {})
    after = config.get("AnnotationConsolidationLambdaArn", "")
    kinds = []
    for path, arn, prefix in (
        ("PreHumanTaskLambdaArn", before, "PRE"),
        ("AnnotationConsolidationConfig.AnnotationConsolidationLambdaArn", after, "ACS"),
    ):
        match = _LAMBDA.fullmatch(arn)
        if match is None or match[3] != prefix or match[4] not in _PAGES:
            expected = f"…:function:{prefix}-VideoObjectTracking or {prefix}-Adjustment…"
            yield Problem(f"HumanTaskConfig.{path}", expected, shown(arn))
        elif ACCOUNTS.get(match[1]) != match[2]:
            expected = f"the function of the account of Ground Truth in {match[1]}"
            yield Problem(f"HumanTaskConfig.{path}", expected, "another account")
        else:
            kinds.append(match[4])
    if len(set(kinds)) > 1:
        yield Problem("HumanTaskConfig", "functions of one task type", " and ".join(kinds))
    yield from _page(task["UiConfig"])


def _page(config: dict[str, Any]) -> Iterator[Problem]:
    match = _UI.fullmatch(config.get("HumanTaskUiArn", ""))
    if match is None or match[2] not in _PAGES.values() or "UiTemplateS3Uri" in config:
        path = "HumanTaskConfig.UiConfig"
        yield Problem(path, "HumanTaskUiArn of VideoObjectTracking alone", shown(config))


@rule("label-times", _LABEL)
def label_times(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `HumanTaskConfig.TaskTimeLimitInSeconds`: at most 30 days."""
    for name in ("TaskTimeLimitInSeconds", "TaskAvailabilityLifetimeInSeconds"):
        seconds = parameters["HumanTaskConfig"].get(name, 0)
        if seconds > _LONGEST:
            expected = f"at most {_LONGEST} (30 days)"
            yield Problem(f"HumanTaskConfig.{name}", expected, f"{seconds}")
