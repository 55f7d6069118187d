"""`motrail sagemaker setup`, and the names of a project."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from commands import Call, caller
from motrail.config import SageMakerSettings
from motrail.errors import ConfigError
from motrail.sagemaker import setup
from motrail.sagemaker.project import Project, find_project
from motrail.sagemaker.redact import redact
from motrail.sagemaker.rehearsal import Rehearsal
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.setup import carry_out, discard, explain, find_stack, plan_stack
from sagemaker_fake import ACCOUNT, KEY, NOT_THERE, OUTPUTS, PROJECT, Fake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.sagemaker.request import Request

STACK_ID = f"arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/motrail/0a1b2c3d"
BUCKET_CHANGE = {
    "ResourceChange": {
        "Action": "Modify",
        "LogicalResourceId": "Bucket",
        "ResourceType": "AWS::S3::Bucket",
        "Replacement": "True",
    }
}


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    with Rehearsal(tmp_path / "rehearsal") as made:
        yield made


def stack(status: str = "CREATE_COMPLETE", **more: Any) -> dict[str, Any]:
    parameters = [{"ParameterKey": "KmsKey", "ParameterValue": KEY}]
    about = {"StackId": STACK_ID, "StackStatus": status, "Parameters": parameters}
    return {"Stacks": [about | {"Outputs": OUTPUTS} | more]}


def event(number: int, status: str, name: str, reason: str = "") -> dict[str, str]:
    return {
        "EventId": str(number),
        "ResourceStatus": status,
        "LogicalResourceId": name,
        "ResourceType": "AWS::CloudFormation::Stack" if name == "motrail" else "AWS::S3::Bucket",
        "ResourceStatusReason": reason,
    }


# A project ---------------------------------------------------------------------------------------


def test_a_project_is_found_by_the_outputs_of_its_stack() -> None:
    cloud = Fake()
    cloud.plant("DescribeStacks", stack())
    assert find_project(cloud, SageMakerSettings()) == PROJECT


def test_uris_and_tags() -> None:
    assert PROJECT.uri("training", "j/", "checkpoints") == (
        "s3://motrail-bucket-1a2b3c/training/j/checkpoints"
    )
    assert PROJECT.uri() == "s3://motrail-bucket-1a2b3c"
    assert PROJECT.tags(dataset="a") == [
        {"Key": "motrail:project", "Value": "motrail"},
        {"Key": "motrail:dataset", "Value": "a"},
    ]


def named(name: str) -> Project:
    return Project(**{**vars(PROJECT), "name": name})


@pytest.mark.parametrize(
    ("project", "kind", "limit", "expected"),
    [
        ("motrail", "train", None, r"motrail-train-20\d{6}-\d{6}-[0-9a-f]{4}"),
        ("motrail", "tune", None, r"motrail-tune-\d{6}-\d{6}-[0-9a-f]{4}"),
        ("a" * 20, "tune", None, r"a{8}-tune-\d{6}-\d{6}-[0-9a-f]{4}"),
        ("a" * 20, "deploy_x y", 63, r"a{20}-deploy-x-y-20\d{6}-\d{6}-[0-9a-f]{4}"),
        ("a" * 20, "k" * 60, None, r"a-k+-\d{6}-\d{6}-[0-9a-f]{4}"),
    ],
)
def test_unique_names_are_valid_and_short_enough(
    project: str, kind: str, limit: int | None, expected: str
) -> None:
    name = named(project).unique(kind, limit)
    assert re.fullmatch(expected, name), name
    assert len(name) <= (32 if kind == "tune" else 63)
    # The patterns of TrainingJobName and HyperParameterTuningJobName.
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)
    assert named(project).unique(kind, limit) != name
    assert redact(name) == name  # no time of day is taken for an account's number


def test_a_stack_that_is_not_there() -> None:
    cloud = Fake()
    cloud.plant("DescribeStacks", NOT_THERE)
    message = r"no stack 'motrail' in eu-west-1; run: motrail sagemaker setup --stack motrail$"
    with pytest.raises(ConfigError, match=message):
        find_project(cloud, SageMakerSettings())
    cloud.rehearsal = True
    with pytest.raises(ConfigError, match="--yes --rehearse, with the same folder"):
        find_project(cloud, SageMakerSettings())


def test_a_stack_that_is_not_ready_or_somebody_elses() -> None:
    cloud = Fake()
    cloud.plant("DescribeStacks", stack("CREATE_IN_PROGRESS", Outputs=OUTPUTS[1:]))
    with pytest.raises(ConfigError, match="is CREATE_IN_PROGRESS and has no output Bucket; run:"):
        find_project(cloud, SageMakerSettings())


def test_other_refusals_are_not_taken_for_a_missing_stack() -> None:
    cloud = Fake()
    cloud.plant("DescribeStacks", CloudError("not authorized", code="AccessDenied"))
    with pytest.raises(CloudError, match="not authorized"):
        find_project(cloud, SageMakerSettings())


# Planning ----------------------------------------------------------------------------------------


def test_a_new_stack_in_a_rehearsal(rehearsal: Rehearsal) -> None:
    settings = SageMakerSettings()
    plan = plan_stack(rehearsal, settings)
    assert plan.kind == "CREATE"
    assert {change.action for change in plan.changes} == {"Add"}
    assert {"Bucket", "TrainingRole", "OperatorPolicy"} <= {change.name for change in plan.changes}
    heard: list[str] = []
    carry_out(rehearsal, plan, lambda event: heard.append(f"{event.status} {event.name}"))
    assert "CREATE_COMPLETE Bucket" in heard
    assert heard[-1] == "CREATE_COMPLETE motrail"
    project = find_project(rehearsal, settings)
    assert project.name == "motrail"
    assert project.training_image.endswith("/motrail/train:0.1.0")
    again = plan_stack(rehearsal, settings)
    assert (again.kind, again.changes) == ("UPDATE", [])


def test_a_plan_that_is_not_wanted_leaves_nothing(rehearsal: Rehearsal) -> None:
    discard(rehearsal, plan_stack(rehearsal, SageMakerSettings()))
    assert setup.find_stack(rehearsal, "motrail") is None


def test_what_is_not_given_stays_as_it_was_unless_it_is_to_be_forgotten() -> None:
    def parameters(**options: Any) -> dict[str, Any]:
        cloud = Fake()
        cloud.plant("DescribeStacks", stack())
        cloud.plant("CreateChangeSet", {"StackId": STACK_ID})
        cloud.plant("DescribeChangeSet", {"Status": "CREATE_COMPLETE", "Changes": [BUCKET_CHANGE]})
        plan = plan_stack(cloud, SageMakerSettings(), **options)
        assert plan.changes == [("Modify", "Bucket", "AWS::S3::Bucket", "True")]
        (sent,) = cloud.sent("CreateChangeSet")
        assert sent["ChangeSetType"] == "UPDATE"
        assert "OnStackFailure" not in sent
        return {item.pop("ParameterKey"): item for item in sent["Parameters"]}

    assert parameters()["KmsKey"] == {"UsePreviousValue": True}
    assert parameters(forget=True)["KmsKey"] == {"ParameterValue": ""}
    # A parameter that the stack does not have yet has no previous value.
    assert parameters()["Subnets"] == {"ParameterValue": ""}
    buckets = parameters(input_buckets=("footage", "archive"))["InputBuckets"]
    assert buckets == {"ParameterValue": "arn:aws:s3:::footage,arn:aws:s3:::archive"}


def test_a_change_that_takes_a_while_is_waited_for() -> None:
    cloud = Fake()
    cloud.plant("DescribeStacks", NOT_THERE)
    cloud.plant("CreateChangeSet", {"StackId": STACK_ID})
    done = {"Status": "CREATE_COMPLETE", "Changes": [BUCKET_CHANGE]}
    cloud.plant("DescribeChangeSet", {"Status": "CREATE_PENDING"}, done)
    assert plan_stack(cloud, SageMakerSettings()).kind == "CREATE"
    assert cloud.slept == [setup.POLL_SECONDS]
    assert cloud.sent("CreateChangeSet")[0]["OnStackFailure"] == "DELETE"


@pytest.mark.parametrize("came", [False, True])
def test_ctrl_c_while_a_change_is_worked_out_leaves_nothing(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch, *, came: bool
) -> None:
    send = rehearsal.call

    def call(request: Request) -> dict[str, Any]:
        if request.operation == "CreateChangeSet":
            if came:
                send(request)
            raise KeyboardInterrupt
        return send(request)

    monkeypatch.setattr(rehearsal, "call", call)
    with pytest.raises(KeyboardInterrupt):
        plan_stack(rehearsal, SageMakerSettings())
    assert find_stack(rehearsal, "motrail") is None


def test_a_refused_change_says_why_and_leaves_nothing() -> None:
    cloud = Fake()
    cloud.plant("DescribeStacks", NOT_THERE)
    cloud.plant("CreateChangeSet", {"StackId": STACK_ID})
    cloud.plant("DescribeChangeSet", {"Status": "FAILED", "StatusReason": "no such parameter"})
    cloud.plant("DeleteChangeSet", {})
    cloud.plant("DeleteStack", {})
    with pytest.raises(CloudError, match="refuses the stack: no such parameter"):
        plan_stack(cloud, SageMakerSettings())
    assert cloud.operations()[-2:] == ["DeleteChangeSet", "DeleteStack"]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("UPDATE_IN_PROGRESS", "is UPDATE_IN_PROGRESS; try again when that is over"),
        ("ROLLBACK_COMPLETE", "cleanup --all --stack motrail, then setup again"),
    ],
)
def test_states_in_which_nothing_can_be_changed(status: str, message: str) -> None:
    cloud = Fake()
    cloud.plant("DescribeStacks", stack(status))
    with pytest.raises(ConfigError, match=message):
        plan_stack(cloud, SageMakerSettings())
    assert cloud.operations() == ["DescribeStacks"]


def test_a_name_that_no_bucket_has() -> None:
    with pytest.raises(
        ConfigError, match="--input-bucket: expected the name of a bucket, found 's3"
    ):
        plan_stack(Fake(), SageMakerSettings(), input_buckets=("s3://footage",))


# Carrying out ------------------------------------------------------------------------------------


def test_a_failure_names_its_cause_and_not_what_was_given_up_for_it() -> None:
    cloud = Fake()
    plan = setup.Plan("motrail", STACK_ID, "motrail-1a", "CREATE")
    news = [
        event(5, "ROLLBACK_COMPLETE", "motrail"),
        event(4, "CREATE_FAILED", "ErrorTopic", "Resource creation cancelled"),
        event(3, "CREATE_FAILED", "Bucket", "You have reached the limit of buckets"),
        event(2, "CREATE_IN_PROGRESS", "Bucket"),
    ]
    old = [event(1, "REVIEW_IN_PROGRESS", "motrail", "User Initiated")]
    cloud.plant("DescribeStackEvents", {"StackEvents": old}, {"StackEvents": [*news, *old]})
    cloud.plant("ExecuteChangeSet", {})
    cloud.plant("DescribeStacks", stack("ROLLBACK_COMPLETE"))
    heard: list[str] = []
    with pytest.raises(CloudError) as caught:
        carry_out(cloud, plan, lambda event: heard.append(event.status))
    assert str(caught.value) == (
        "the stack is ROLLBACK_COMPLETE: Bucket (AWS::S3::Bucket): You have reached the limit of "
        "buckets"
    )
    assert heard == ["CREATE_IN_PROGRESS", "CREATE_FAILED", "CREATE_FAILED", "ROLLBACK_COMPLETE"]


def test_a_first_try_that_failed_and_was_deleted_is_a_failure() -> None:
    cloud = Fake()
    failed = event(2, "CREATE_FAILED", "Bucket", "no")
    cloud.plant("DescribeStackEvents", {"StackEvents": []}, {"StackEvents": [failed]})
    cloud.plant("ExecuteChangeSet", {})
    cloud.plant("DescribeStacks", NOT_THERE)
    with pytest.raises(CloudError, match=r"is DELETE_COMPLETE: Bucket \(AWS::S3::Bucket\): no"):
        carry_out(cloud, setup.Plan("motrail", STACK_ID, "c", "CREATE"))


def test_explaining_without_reasons() -> None:
    assert explain([]) == "CloudFormation gives no reason"
    only = setup.Event("ROLLBACK_IN_PROGRESS", "motrail", "AWS::CloudFormation::Stack", "by hand")
    assert explain([only]) == "by hand"


# The settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stack": "Motrail"}, "stack: expected a letter and then up to 19 small letters"),
        ({"stack": "a--b"}, "stack: expected"),
        ({"stack": "a-"}, "stack: expected"),
        ({"stack": "a" * 21}, "stack: expected"),
        ({"region": "Ireland"}, "region: expected a region as in eu-west-1, found 'Ireland'"),
        ({"training_instance": "g5.xlarge"}, "training_instance: expected an instance type"),
        ({"training_fallbacks": ("ml.g5.xlarge", "x")}, "training_fallbacks: .* found 'x'"),
        ({"kms_key": "alias/mine"}, "kms_key: expected the ARN of a key"),
        ({"workteam": "private-crowd"}, "workteam: expected an ARN"),
        ({"subnets": ("subnet-0a1b2c3d",)}, "subnets: expected together with security_groups"),
        ({"volume_gib": 0}, "volume_gib: expected from 1 to 16384"),
        ({"max_wait_hours": 1.0}, r"max_wait_hours: expected at least max_hours \(24\) with spot"),
        ({"max_hours": 1000.0}, "max_hours: expected from"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SageMakerSettings(**given)


def test_settings_that_can_be() -> None:
    SageMakerSettings(region="us-gov-west-1", subnets=("subnet-0a1b2c3d",),
                      security_groups=("sg-0a1b2c3d4e5f60718",), kms_key=KEY,
                      spot=False, max_wait_hours=1.0)  # fmt: skip


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "sagemaker", "setup")


def test_the_command_shows_changes_makes_them_and_tells_names(call: Call, tmp_path: Path) -> None:
    result = call("--yes", "--rehearse", tmp_path / "r", "--max-hours", "12", "--no-spot")
    assert result.code == 0, result.err
    assert "nothing is sent to AWS" in result.err
    assert re.search(r"^Add +Bucket +AWS::S3::Bucket$", result.err, re.MULTILINE)
    assert re.search(r"^CREATE_COMPLETE +motrail$", result.err, re.MULTILINE)
    assert ACCOUNT not in result.out + result.err
    section = result.out[result.out.index("[sagemaker]") :]
    assert tomllib.loads(section) == {"sagemaker": {"max_hours": 12.0, "spot": False}}
    again = call("--rehearse", tmp_path / "r", "--json")
    assert again.code == 0
    document = json.loads(again.out)
    assert document["changes"] == []
    assert document["project"]["bucket"].startswith("motrail-bucket-")
    assert "is up to date" in again.err


def test_without_a_yes_nothing_is_made(call: Call, tmp_path: Path) -> None:
    result = call("--rehearse", tmp_path / "r")
    assert result.code == 1
    assert "not without --yes, as there is no terminal to ask" in result.err
    assert "nothing was changed" in result.err
    assert call("--dry-run", "--rehearse", tmp_path / "r").code == 0
    with Rehearsal(tmp_path / "r") as rehearsal:
        assert setup.find_stack(rehearsal, "motrail") is None


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_at_the_question_leaves_no_stack(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motrail.cli.sagemaker.setup.confirm", interrupted)
    assert call("--rehearse", tmp_path / "r").code == 130
    with Rehearsal(tmp_path / "r") as rehearsal:
        assert setup.find_stack(rehearsal, "motrail") is None


def test_ctrl_c_while_the_stack_is_made_says_that_it_goes_on(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motrail.sagemaker.setup.wait_for", interrupted)
    result = call("--yes", "--rehearse", tmp_path / "r")
    assert result.code == 130
    assert "CloudFormation goes on by itself; the same command shows what came of" in result.err


def test_the_template_and_the_policy_are_printed_without_a_cloud(call: Call) -> None:
    result = call("--template")
    assert result.code == 0
    assert result.out.startswith("AWSTemplateFormatVersion")
    policy = json.loads(call("--setup-policy", "--stack", "mine", "--region", "eu-west-1").out)
    resources = [each["Resource"] for each in policy["Statement"]]
    assert "arn:aws:cloudformation:eu-west-1:*:stack/mine/*" in resources
    assert all("mine" in resource for resource in resources)
