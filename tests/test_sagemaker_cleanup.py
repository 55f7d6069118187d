"""`motrail sagemaker cleanup`: what is the project's goes, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from commands import Call, caller
from motrail.config import SageMakerSettings
from motrail.sagemaker import aws, cleanup
from motrail.sagemaker.cleanup import empty_bucket, remove, remove_stack, wait_until_ended
from motrail.sagemaker.leftovers import Inventory, Thing, list_results, take_inventory
from motrail.sagemaker.project import find_project
from motrail.sagemaker.rehearsal import Rehearsal
from motrail.sagemaker.request import CloudError, ObjectInfo, Request
from motrail.sagemaker.requests.admin import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    LABELING,
    MODEL,
    PROCESSING,
    TRAINING,
    TUNING,
)
from motrail.sagemaker.setup import carry_out, find_stack, plan_stack
from sagemaker_fake import ACCOUNT, OUTPUTS, PROJECT, Account, Fake

if TYPE_CHECKING:
    from pathlib import Path

STACK_ID = f"arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/motrail/0a1b2c3d"
STACK = {"Stacks": [{"StackId": STACK_ID, "StackStatus": "CREATE_COMPLETE", "Outputs": OUTPUTS}]}
ALARM = f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm"
TARGET = f"arn:aws:application-autoscaling:eu-west-1:{ACCOUNT}:scalable-target"
DENIED = CloudError("User is not authorized", code="AccessDeniedException")


def kinds_and_names(found: Inventory) -> list[tuple[str, str]]:
    return [(thing.kind, thing.name) for thing in (*found.things, *found.logs)]


@pytest.fixture
def account() -> Account:
    made = Account()
    for owner in ("", "another", None):
        name = {"": "mine", "another": "theirs", None: "nobodys"}[owner]
        made.add(ENDPOINT, name, "InService", owner)
        made.add(ENDPOINT_CONFIG, name, owner=owner)
        made.add(MODEL, name, owner=owner)
        for kind in (TUNING, TRAINING, PROCESSING, LABELING):
            made.add(kind, f"{name}-running", "InProgress", owner)
    targets = [
        {"ResourceId": f"endpoint/{name}/variant/main", "ScalableTargetARN": f"{TARGET}/{name}"}
        for name in ("mine", "theirs", "orphan")
    ]
    made.plant("DescribeScalableTargets", {"ScalableTargets": targets})
    made.plant(
        "ListTagsForResource",
        lambda given: {"Tags": _tags_of(given["ResourceARN"])},
    )
    made.plant(
        "DescribeScalingPolicies",
        lambda given: {
            "ScalingPolicies": [{"PolicyName": f"{given['ResourceId'].split('/')[1]}-backlog"}]
        },
    )
    alarms = [
        {"AlarmName": name, "AlarmArn": f"{ALARM}:{name}", "Namespace": namespace}
        for name, namespace in (
            ("mine-wake", "AWS/SageMaker"), ("theirs-wake", "AWS/SageMaker"), ("cpu", "AWS/EC2"),
        )
    ]  # fmt: skip
    made.plant("DescribeAlarms", {"MetricAlarms": alarms})
    groups = [{"logGroupName": f"/aws/sagemaker/Endpoints/{name}"} for name in ("mine", "mine-2")]
    made.plant("DescribeLogGroups", {"logGroups": groups})
    for operation in ("DeleteScalingPolicy", "DeregisterScalableTarget", "DeleteAlarms",
                      "DeleteLogGroup"):  # fmt: skip
        made.plant(operation, {})
    return made


def _tags_of(arn: str) -> Any:
    owner = "motrail" if arn.endswith(("mine", "orphan", "mine-wake")) else "another"
    if ":scalable-target/" in arn:
        return {"motrail:project": owner}
    return [{"Key": "motrail:project", "Value": owner}]


# Finding -----------------------------------------------------------------------------------------


def test_what_carries_the_tag_is_found_in_the_order_of_removal(account: Account) -> None:
    found = take_inventory(account, "motrail")
    assert found.failures == []
    assert kinds_and_names(found) == [
        ("scaling policy", "mine-backlog"),
        ("scaling target", "endpoint/mine/variant/main"),
        ("scaling policy", "orphan-backlog"),
        ("scaling target", "endpoint/orphan/variant/main"),
        ("alarm", "mine-wake"),
        ("endpoint", "mine"),
        ("endpoint config", "mine"),
        ("model", "mine"),
        ("tuning job", "mine-running"),
        ("training job", "mine-running"),
        ("processing job", "mine-running"),
        ("labeling job", "mine-running"),
        ("log group", "/aws/sagemaker/Endpoints/mine"),
    ]
    assert [t.action for t in found.things][-4:] == ["stop"] * 4
    # Of alarms that are about something else nobody asks.
    assert f"{ALARM}:cpu" not in [
        each["ResourceARN"] for each in account.sent("ListTagsForResource")
    ]


def test_what_is_ending_already_is_left_to_itself() -> None:
    account = Account()
    account.add(ENDPOINT, "going", "Deleting")
    account.add(TRAINING, "stopping", "Stopping")
    account.add(TRAINING, "child", "InProgress", TuningJobArn="arn:…")
    assert take_inventory(account, "motrail").things == []


def test_ended_jobs_have_records(account: Account) -> None:
    account.add(TRAINING, "motrail-train-1", "Completed")
    account.add(TRAINING, "motrail-train-2", "Failed", "another")
    account.add(PROCESSING, "motrail-batch-1", "Stopped")
    account.add(LABELING, "motrail-label-1", "Completed")  # SageMaker keeps these
    found = take_inventory(account, "motrail")
    assert [(t.kind, t.name) for t in found.records] == [
        ("record of a training job", "motrail-train-1"),
        ("record of a processing job", "motrail-batch-1"),
    ]


def test_what_a_job_wrote_to_its_log_goes_with_its_record(account: Account) -> None:
    account.add(PROCESSING, "motrail-batch-1", "Completed")
    names = [f"motrail-batch-1/algo-{host}-1795" for host in (1, 2)]
    streams = {"logStreams": [{"logStreamName": name} for name in names]}
    account.plant("DescribeLogStreams", streams)
    account.plant("DeleteLogStream", {})
    found = take_inventory(account, "motrail")
    assert account.sent("DescribeLogStreams") == [
        {
            "logGroupName": "/aws/sagemaker/ProcessingJobs",
            "logStreamNamePrefix": "motrail-batch-1/",  # and not those of motrail-batch-10
        }
    ]
    assert [(t.kind, t.name) for t in found.records] == [
        *(("log stream", name) for name in names),
        ("record of a processing job", "motrail-batch-1"),
    ]
    assert remove(account, found.records, lambda _thing, _outcome: None) == []
    assert [sent["logStreamName"] for sent in account.sent("DeleteLogStream")] == names


def test_logs_that_nobody_may_see_are_noted(account: Account) -> None:
    account.add(PROCESSING, "motrail-batch-1", "Completed")
    account.plant("DescribeLogStreams", DENIED)
    found = take_inventory(account, "motrail")
    assert [failure.what for failure in found.failures] == ["ended jobs"]


def test_what_cannot_be_listed_is_noted_and_the_rest_is_found(account: Account) -> None:
    account.plant("DescribeAlarms", DENIED)
    account.plant("ListModels", DENIED)
    found = take_inventory(account, "motrail")
    assert [failure.what for failure in found.failures] == ["alarms", "models"]
    assert ("endpoint", "mine") in kinds_and_names(found)
    assert ("processing job", "mine-running") in kinds_and_names(found)


def test_something_that_goes_while_it_is_looked_at_is_nobodys() -> None:
    account = Account()
    account.add(MODEL, "m")
    account.plant("ListTags", CloudError("Could not find model", code="ValidationException"))
    assert take_inventory(account, "motrail").things == []


def test_results_are_counted_by_the_first_part_of_the_key() -> None:
    cloud = Fake()
    cloud.stored = [
        ObjectInfo(f"s3://b-1/{key}", size, "e")
        for key, size in (("models/a/model.tar.gz", 5), ("training/j/x", 1), ("training/k", 2),
                          ("note.txt", 7))
    ]  # fmt: skip
    assert list_results(cloud, "b-1") == [
        ("models/", 1, 5), ("note.txt", 1, 7), ("training/", 2, 3),
    ]  # fmt: skip


# Removing ----------------------------------------------------------------------------------------


def test_after_one_failure_the_rest_is_removed(account: Account) -> None:
    found = take_inventory(account, "motrail")
    account.plant("DeleteEndpointConfig", DENIED)
    account.plant("DeleteAlarms", CloudError("no", code="ResourceNotFound"))
    stopped = "The request was rejected because the training job is in a terminal state"
    account.plant("StopTrainingJob", CloudError(stopped, code="ValidationException"))
    outcomes: dict[str, str] = {}

    def tell(thing: Thing, outcome: str) -> None:
        outcomes[thing.kind] = outcome

    failures = remove(account, found.things, tell)
    assert failures == [("endpoint config mine", "User is not authorized")]
    assert outcomes["endpoint config"] == "failed"
    assert outcomes["alarm"] == outcomes["training job"] == "gone already"
    assert outcomes["model"] == outcomes["processing job"] == "done"
    assert account.names(ENDPOINT) == account.names(MODEL) == ["theirs", "nobodys"]


def test_the_end_of_endpoints_and_jobs_is_waited_for() -> None:
    account = Account()
    account.add(TRAINING, "t", "InProgress")
    account.add(ENDPOINT, "e", "InService")
    things = take_inventory(account, "motrail").things
    account.things["endpoint"]["e"]["EndpointStatus"] = "Deleting"
    left: list[int] = []

    def tell(_what: str, count: int) -> None:
        left.append(count)
        if len(left) == 2:
            account.things["training job"]["t"]["TrainingJobStatus"] = "Stopped"
        if len(left) == 3:
            account.things["endpoint"].clear()

    assert wait_until_ended(account, things, tell) == []
    assert left == [2, 2, 1]
    assert account.slept == [cleanup.POLL_SECONDS] * 3


def test_what_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "_POLLS", 3)
    account = Account()
    account.add(ENDPOINT, "e", "InService")
    account.add(TRAINING, "t", "InProgress")
    things = take_inventory(account, "motrail").things
    account.plant("DescribeTrainingJob", DENIED)
    assert wait_until_ended(account, things) == [
        ("training job t", "User is not authorized"),
        ("endpoint e", "has not ended in an hour"),
    ]


def test_a_bucket_is_emptied_a_thousand_at_a_time() -> None:
    cloud = Fake()
    cloud.stored = [ObjectInfo(f"s3://b-1/k{n:04}", 1, "e") for n in range(2001)]
    cloud.plant("DeleteObjects", {})
    assert empty_bucket(cloud, "b-1") == 2001
    sent = [len(each["Delete"]["Objects"]) for each in cloud.sent("DeleteObjects")]
    assert sent == [1000, 1000, 1]


def test_objects_that_s3_does_not_delete_are_told() -> None:
    cloud = Fake()
    cloud.stored = [ObjectInfo("s3://b-1/k", 1, "e")]
    refused = [{"Key": "k", "Code": "AccessDenied", "Message": "Access Denied"}]
    cloud.plant("DeleteObjects", {"Errors": refused})
    with pytest.raises(
        CloudError, match="1 objects could not be deleted, the first of them k: Acc"
    ):
        empty_bucket(cloud, "b-1")


def with_stack(**answers: Any) -> tuple[Fake, Inventory]:
    cloud = Fake()
    gone = {"Stacks": [{"StackId": STACK_ID, "StackStatus": "DELETE_COMPLETE"}]}
    planted = {"DescribeStackEvents": {"StackEvents": []}, "DeleteStack": {},
               "DescribeStacks": gone, "DeleteBucket": {}} | answers  # fmt: skip
    for operation, answer in planted.items():
        cloud.plant(operation, *(answer if isinstance(answer, list) else [answer]))
    return cloud, Inventory(bucket="b-1", stack_id=STACK_ID)


def test_the_bucket_goes_after_the_stack_if_it_is_empty() -> None:
    cloud, found = with_stack()
    assert remove_stack(cloud, found, lambda _event: None) == []
    assert cloud.operations()[-1] == "DeleteBucket"
    cloud, found = with_stack()
    cloud.stored = [ObjectInfo("s3://b-1/models/m", 1, "e")]
    assert remove_stack(cloud, found, lambda _event: None) == []
    assert "DeleteBucket" not in cloud.operations()


def test_older_versions_go_where_somebody_switched_versioning_on() -> None:
    not_empty = CloudError("The bucket you tried to delete is not empty", code="BucketNotEmpty")
    versions = {"Versions": [{"Key": "k", "VersionId": "1"}],
                "DeleteMarkers": [{"Key": "k", "VersionId": "2"}]}  # fmt: skip
    cloud, found = with_stack(
        DeleteBucket=[not_empty, {}], ListObjectVersions=[versions, {}], DeleteObjects={}
    )
    assert remove_stack(cloud, found, lambda _event: None) == []
    (sent,) = cloud.sent("DeleteObjects")
    assert [item["VersionId"] for item in sent["Delete"]["Objects"]] == ["1", "2"]


def test_a_stack_that_cannot_be_deleted_keeps_its_bucket() -> None:
    failed = {"Stacks": [{"StackId": STACK_ID, "StackStatus": "DELETE_FAILED"}]}
    cloud, found = with_stack(DescribeStacks=failed)
    ((what, why),) = remove_stack(cloud, found, lambda _event: None)
    assert what == "stack"
    assert why.startswith("the stack is DELETE_FAILED: ")
    assert "DeleteBucket" not in cloud.operations()


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "sagemaker", "cleanup")


@pytest.fixture
def in_account(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The command finds this one in place of AWS."""
    monkeypatch.setattr(aws, "Aws", lambda **_options: account)
    account.plant("DescribeStacks", STACK)
    account.stored = [ObjectInfo(f"s3://{PROJECT.bucket}/training/j/x", 1536, "e")]

    def delete(_given: dict[str, Any]) -> dict[str, Any]:
        account.stored.clear()
        return {}

    account.plant("DeleteObjects", delete)
    return account


def test_dry_run_lists_and_removes_nothing(call: Call, in_account: Account) -> None:
    result = call("--dry-run", "--json")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert {"kind": "endpoint", "name": "mine", "action": "delete"} in document["found"]
    assert document["results"] == [{"prefix": "training/", "objects": 1, "size": 1536}]
    assert document["done"] == []
    assert "training/" in result.err
    assert "deleted, 1.5 KiB" in result.err
    changing = ("Delete", "Stop", "Deregister")
    assert not [name for name in in_account.operations() if name.startswith(changing)]


def test_hostile_keys_do_not_reach_the_terminal(call: Call, in_account: Account) -> None:
    in_account.stored = [ObjectInfo(f"s3://{PROJECT.bucket}/\x1b[2J/x", 1, "e")]
    result = call("--dry-run")
    assert "?[2J/" in result.err
    assert "\x1b" not in result.err


def test_without_a_yes_nothing_is_removed(call: Call, in_account: Account) -> None:
    result = call()
    assert result.code == 1
    assert "delete or stop these 13? not without --yes" in result.err
    assert "mine" in in_account.names(ENDPOINT)


def test_what_is_the_projects_goes_and_the_rest_stays(call: Call, in_account: Account) -> None:
    result = call("--yes", "--json")
    assert result.code == 0, result.err
    assert {tuple(in_account.names(kind)) for kind in (ENDPOINT, ENDPOINT_CONFIG, MODEL)} == {
        ("theirs", "nobodys")
    }
    theirs = in_account.things["training job"]["theirs-running"]
    assert theirs["TrainingJobStatus"] == "InProgress"
    document = json.loads(result.out)
    assert document["objects_deleted"] == 1
    assert {item["outcome"] for item in document["done"]} == {"done"}
    # Jobs end before their results are deleted, and log groups go when nobody writes any more.
    order = in_account.operations()
    assert order.index("StopTrainingJob") < order.index("DeleteObjects")
    assert order.index("DeleteEndpoint") < order.index("DeleteLogGroup")
    assert "DeleteStack" not in order


def test_results_can_be_kept(call: Call, in_account: Account) -> None:
    in_account.add(TRAINING, "motrail-train-1", "Completed")
    result = call("--yes", "--keep-results")
    assert result.code == 0, result.err
    assert "kept, 1.5 KiB" in result.err
    assert in_account.stored
    assert "motrail-train-1" in in_account.names(TRAINING)


def test_a_failure_is_told_at_the_end_and_in_the_exit_code(call: Call, in_account: Account) -> None:
    in_account.plant("DeleteModel", DENIED)
    result = call("--yes")
    assert result.code == 3
    assert result.err.splitlines()[-1] == "failed: model mine: User is not authorized"
    assert "delete  endpoint mine: done" in result.err


def test_nothing_at_all(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "Aws", lambda **_options: Account())
    result = call("--yes", "--all")
    assert (result.code, result.out) == (0, "")
    assert result.err == "nothing of 'motrail' is left in eu-west-1\n"


def test_a_rehearsed_project_leaves_nothing(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    settings = SageMakerSettings()
    with Rehearsal(folder) as cloud:
        carry_out(cloud, plan_stack(cloud, settings))
        project = find_project(cloud, settings)
        (tmp_path / "x").write_bytes(b"12345")
        cloud.upload(tmp_path / "x", project.uri("models", "m", "model.tar.gz"))
        model = {
            "ModelName": "mine",
            "ExecutionRoleArn": project.serving_role,
            "PrimaryContainer": {
                "Image": project.serving_image,
                "ModelDataUrl": project.uri("models", "m", "model.tar.gz"),
            },
            "Tags": project.tags(),
        }
        cloud.call(Request("sagemaker", "CreateModel", model))
    result = call("--yes", "--all", "--rehearse", folder)
    assert result.code == 0, result.err
    with Rehearsal(folder) as cloud:
        assert list(cloud.pages(Request("sagemaker", "ListModels", {}), "Models")) == []
        assert find_stack(cloud, "motrail") is None
        with pytest.raises(CloudError):
            list(cloud.objects(f"s3://{project.bucket}/"))
