"""The rehearsal's stack, labelling jobs, scaling and small services."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail.config import SageMakerSettings
from motrail.errors import DataError
from motrail.formats.ground_truth.reader import read_ground_truth
from motrail.formats.labels import Labels, ReadOptions
from motrail.sagemaker.project import find_project
from motrail.sagemaker.request import CloudError, Request
from motrail.sagemaker.transfer import download_folder
from sagemaker_rehearsing import (
    BUCKET,
    ask,
    deploy,
    get,
    make_model,
    put,
    rehearse,
    sagemaker,
    train,
    variant,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sagemaker_shapes import CheckedRehearsal

TEMPLATE = """
Parameters:
  Project: {Type: String, Default: motrail, AllowedPattern: "[a-z]+"}
  Names: {Type: CommaDelimitedList, Default: ""}
Conditions:
  HasNames: !Not [!Equals [!Join ["", !Ref Names], ""]]
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    Properties:
      Tags: [{Key: "motrail:project", Value: !Ref Project}]
      CorsConfiguration:
        CorsRules: [{AllowedMethods: [GET], AllowedOrigins: ["*"], MaxAge: 60}]
  Topic:
    Type: AWS::SNS::Topic
    Properties: {TopicName: !Sub "${Project}-${AWS::Region}"}
  Extra:
    Type: AWS::SNS::Topic
    Condition: HasNames
Outputs:
  Bucket: {Value: !Ref Bucket}
  BucketArn: {Value: !GetAtt Bucket.Arn}
  Topic: {Value: !Ref Topic}
  Names: {Value: !Join ["+", !Ref Names], Condition: HasNames}
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CheckedRehearsal]:
    with rehearse(tmp_path / "cloud") as one:
        yield one


def refused(code: str, what: Callable[[], object]) -> str:
    with pytest.raises(CloudError) as caught:
        what()
    assert caught.value.code == code
    return str(caught.value)


def stacks(cloud: CheckedRehearsal, operation: str, **parameters: Any) -> dict[str, Any]:
    return ask(cloud, "cloudformation", operation, **parameters)


def outputs(cloud: CheckedRehearsal, stack: str) -> dict[str, str]:
    found = stacks(cloud, "DescribeStacks", StackName=stack)["Stacks"][0]
    return {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}


class TestStack:
    def test_functions_of_a_template(self, cloud: CheckedRehearsal) -> None:
        stacks(cloud, "CreateStack", StackName="one", TemplateBody=TEMPLATE)
        found = outputs(cloud, "one")
        assert found["BucketArn"] == f"arn:aws:s3:::{found['Bucket']}"
        assert found["Topic"] == "arn:aws:sns:eu-west-1:123456789012:motrail-eu-west-1"
        assert "Names" not in found
        cors = ask(cloud, "s3", "GetBucketCors", Bucket=found["Bucket"])
        assert cors["CORSRules"] == [
            {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAgeSeconds": 60}
        ]
        tags = ask(cloud, "s3", "GetBucketTagging", Bucket=found["Bucket"])["TagSet"]
        assert tags == [{"Key": "motrail:project", "Value": "motrail"}]

    def test_change_sets(self, cloud: CheckedRehearsal) -> None:
        stacks(cloud, "CreateStack", StackName="one", TemplateBody=TEMPLATE)
        before = outputs(cloud, "one")
        which = {"StackName": "one", "ChangeSetName": "more"}
        names = [{"ParameterKey": "Names", "ParameterValue": "a,b"}]
        stacks(cloud, "CreateChangeSet", **which, TemplateBody=TEMPLATE, Parameters=names)
        described = stacks(cloud, "DescribeChangeSet", **which)
        assert [
            (each["ResourceChange"]["Action"], each["ResourceChange"]["LogicalResourceId"])
            for each in described["Changes"]
        ] == [("Add", "Extra")]
        assert outputs(cloud, "one") == before
        stacks(cloud, "ExecuteChangeSet", **which)
        assert outputs(cloud, "one") == {**before, "Names": "a+b"}
        stacks(cloud, "CreateChangeSet", **which, TemplateBody=TEMPLATE, Parameters=names)
        described = stacks(cloud, "DescribeChangeSet", **which)
        assert described["Status"] == "FAILED"
        assert "didn't contain changes" in described["StatusReason"]
        message = refused(
            "InvalidChangeSetStatus", lambda: stacks(cloud, "ExecuteChangeSet", **which)
        )
        assert "cannot be executed" in message

    def test_deleted(self, cloud: CheckedRehearsal) -> None:
        made = stacks(cloud, "CreateStack", StackName="one", TemplateBody=TEMPLATE)["StackId"]
        bucket = outputs(cloud, "one")["Bucket"]
        stacks(cloud, "DeleteStack", StackName="one")
        message = refused(
            "ValidationError", lambda: stacks(cloud, "DescribeStacks", StackName="one")
        )
        assert "Stack with id one does not exist" in message
        events = stacks(cloud, "DescribeStackEvents", StackName=made)["StackEvents"]
        assert events[0]["ResourceStatus"] == "DELETE_COMPLETE"
        assert [
            each["LogicalResourceId"]
            for each in events
            if each["ResourceStatus"] == "DELETE_SKIPPED"
        ] == ["Bucket"]
        assert ask(cloud, "s3", "HeadBucket", Bucket=bucket)["BucketRegion"] == "eu-west-1"
        assert ask(cloud, "sns", "ListTopics")["Topics"] == []
        assert stacks(cloud, "DescribeStacks")["Stacks"] == []

    def test_what_is_refused(self, cloud: CheckedRehearsal) -> None:
        def create(**more: Any) -> None:
            stacks(cloud, "CreateStack", **{"StackName": "x", "TemplateBody": TEMPLATE, **more})

        wrong = [{"ParameterKey": "Project", "ParameterValue": "A B"}]
        message = refused("ValidationError", lambda: create(Parameters=wrong))
        assert "Parameter 'Project' failed to satisfy its constraints" in message
        unknown = [{"ParameterKey": "Size", "ParameterValue": "1"}]
        message = refused("ValidationError", lambda: create(Parameters=unknown))
        assert "Parameters: [Size] do not exist in the template" in message
        role = "Resources: {R: {Type: 'AWS::IAM::Role'}}"
        message = refused("InsufficientCapabilitiesException", lambda: create(TemplateBody=role))
        assert "Requires capabilities : [CAPABILITY_IAM]" in message
        create()
        assert "already exists" in refused("AlreadyExistsException", create)

    def test_one_that_fails_is_rolled_back(self, cloud: CheckedRehearsal) -> None:
        text = f"""
Resources:
  Topic: {{Type: "AWS::SNS::Topic"}}
  Bucket: {{Type: "AWS::S3::Bucket", Properties: {{BucketName: {BUCKET}}}}}
"""
        stacks(cloud, "CreateStack", StackName="bad", TemplateBody=text)
        found = stacks(cloud, "DescribeStacks", StackName="bad")["Stacks"][0]
        assert found["StackStatus"] == "ROLLBACK_COMPLETE"
        assert "you already own it" in found["StackStatusReason"]
        assert ask(cloud, "sns", "ListTopics")["Topics"] == []

    def test_our_own_stack_is_a_project(self, cloud: CheckedRehearsal) -> None:
        from motrail.sagemaker.requests.stack import create_change_set, execute_change_set

        parameters = dict.fromkeys(("KmsKey", "Subnets", "SecurityGroups", "InputBuckets"), "")
        cloud.call(
            create_change_set("motrail", "first", "CREATE", {"Project": "motrail", **parameters})
        )
        cloud.call(execute_change_set("motrail", "first"))
        project = find_project(cloud, SageMakerSettings())
        bucket = project.bucket
        assert bucket in [each["Name"] for each in ask(cloud, "s3", "ListBuckets")["Buckets"]]
        roles = [each["Arn"] for each in ask(cloud, "iam", "ListRoles")["Roles"]]
        assert {project.training_role, project.serving_role} <= set(roles)
        topics = [each["TopicArn"] for each in ask(cloud, "sns", "ListTopics")["Topics"]]
        assert sorted(topics) == sorted([project.success_topic, project.error_topic])
        rules = ask(cloud, "s3", "GetBucketCors", Bucket=bucket)["CORSRules"]
        assert rules[0]["AllowedMethods"] == ["GET", "HEAD", "PUT"]
        repository = project.serving_image.partition("/")[2].partition(":")[0]
        described = ask(
            cloud, "ecr", "DescribeImages",
            repositoryName=repository, imageIds=[{"imageTag": "0.1.0"}],
        )  # fmt: skip
        assert described["imageDetails"][0]["imageTags"] == ["0.1.0"]


def drawn(name: str) -> Labels:
    return Labels.of(
        name,
        ["person", "ball"],
        np.array([1, 1, 3]),
        np.array([1, 2, 1]),
        np.array([[1, 2, 3, 4], [5, 6, 7, 8], [2, 2, 3, 4.5]], float),
        np.array([0, 1, 0]),
        width=64,
        height=48,
        length=3,
    )


def labelling_job(cloud: CheckedRehearsal, sequences: dict[str, list[str]]) -> dict[str, Any]:
    lines: list[dict[str, str]] = []
    for name, frames in sequences.items():
        content = {
            "seq-no": len(lines) + 1,
            "prefix": f"s3://{BUCKET}/labeling/frames/{name}/",
            "number-of-frames": len(frames),
            "frames": [{"frame-no": index, "frame": each} for index, each in enumerate(frames)],
        }
        text = json.dumps(content).encode()
        lines.append({"source-ref": put(cloud, f"labeling/sequences/{name}.json", text)})
    text = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    manifest = put(cloud, "labeling/input.manifest", text)
    account, region = "568282634449", "eu-west-1"
    functions = f"arn:aws:lambda:{region}:{account}:function"
    return {
        "LabelingJobName": "by-hand",
        "LabelAttributeName": "by-hand-ref",
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": manifest}}},
        "OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/labeling/output/"},
        "RoleArn": "arn:aws:iam::123456789012:role/motrail-LabelingRole",
        "LabelCategoryConfigS3Uri": put(cloud, "labeling/categories.json", b"{}"),
        "HumanTaskConfig": {
            "WorkteamArn": f"arn:aws:sagemaker:{region}:123456789012:workteam/private-crowd/us",
            "UiConfig": {
                "HumanTaskUiArn": (
                    f"arn:aws:sagemaker:{region}:394669845002:human-task-ui/VideoObjectTracking"
                )
            },
            "PreHumanTaskLambdaArn": f"{functions}:PRE-VideoObjectTracking",
            "TaskTitle": "Track",
            "TaskDescription": "Track all",
            "NumberOfHumanWorkersPerDataObject": 1,
            "TaskTimeLimitInSeconds": 3600,
            "AnnotationConsolidationConfig": {
                "AnnotationConsolidationLambdaArn": f"{functions}:ACS-VideoObjectTracking"
            },
        },
    }


class TestLabelling:
    def test_the_result_is_read_back(self, cloud: CheckedRehearsal, tmp_path: Path) -> None:
        frames = {"a": ["1.jpg", "2.jpg", "3.jpg"], "b": ["x.jpg", "y.jpg", "z.jpg"]}
        sagemaker(cloud, "CreateLabelingJob", **labelling_job(cloud, frames))
        before = sagemaker(cloud, "DescribeLabelingJob", LabelingJobName="by-hand")
        assert before["LabelingJobStatus"] == "InProgress"
        assert before["LabelCounters"]["Unlabeled"] == 2
        cloud.answer_labeling("by-hand", [drawn("a"), drawn("b")])
        after = sagemaker(cloud, "DescribeLabelingJob", LabelingJobName="by-hand")
        assert after["LabelingJobStatus"] == "Completed"
        assert after["LabelCounters"]["HumanLabeled"] == 2
        manifest = after["LabelingJobOutput"]["OutputDatasetS3Uri"]
        home = "labeling/output/by-hand"
        assert manifest == f"s3://{BUCKET}/{home}/manifests/output/output.manifest"
        line = json.loads(get(cloud, f"{home}/manifests/output/output.manifest").splitlines()[1])
        result = f"{home}/annotations/consolidated-annotation/output/1/SeqLabel.json"
        assert line["by-hand-ref"] == f"s3://{BUCKET}/{result}"
        metadata = line["by-hand-ref-metadata"]
        assert metadata["class-map"] == {"0": "person", "1": "ball"}
        assert metadata["human-annotated"] == "yes"
        assert metadata["job-name"] == "labeling-job/by-hand"
        named = json.loads(get(cloud, result))["tracking-annotations"]
        assert [each["frame"] for each in named] == frames["b"]
        assert [len(each["annotations"]) for each in named] == [2, 0, 1]
        download_folder(cloud, f"s3://{BUCKET}/", tmp_path / "mirror" / BUCKET)
        local = tmp_path / "mirror" / BUCKET / home / "manifests" / "output" / "output.manifest"
        options = ReadOptions(mirror=tmp_path / "mirror", size=(64, 48))
        read = {labels.name: labels.in_order() for labels in read_ground_truth(local, options)}
        for name in frames:
            expected = drawn(name).in_order()
            assert np.array_equal(read[name].frames, expected.frames)
            assert np.array_equal(read[name].boxes_xywh, expected.boxes_xywh)

    def test_what_is_refused(self, cloud: CheckedRehearsal) -> None:
        given = labelling_job(cloud, {"a": ["1.jpg", "2.jpg", "3.jpg"]})
        sagemaker(cloud, "CreateLabelingJob", **given)
        refused("ResourceInUse", lambda: sagemaker(cloud, "CreateLabelingJob", **given))
        with pytest.raises(DataError, match="expected labels of a, found labels of b"):
            cloud.answer_labeling("by-hand", [drawn("b")])
        sagemaker(cloud, "StopLabelingJob", LabelingJobName="by-hand")
        message = refused(
            "ValidationException", lambda: cloud.answer_labeling("by-hand", [drawn("a")])
        )
        assert "in status Stopped" in message
        refused(
            "ResourceNotFound",
            lambda: sagemaker(cloud, "DescribeLabelingJob", LabelingJobName="none"),
        )
        put(cloud, "labeling/input.manifest", b"no manifest\n")
        other = given | {"LabelingJobName": "other", "LabelAttributeName": "other-ref"}
        message = refused(
            "ValidationException", lambda: sagemaker(cloud, "CreateLabelingJob", **other)
        )
        assert "Line 1 of the input manifest" in message


class TestScaling:
    def test_targets_policies_and_alarms(self, cloud: CheckedRehearsal) -> None:
        make_model(cloud, "nano")
        deploy(cloud, "live", variant("nano"))
        which = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": "endpoint/live/variant/main",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        service = "application-autoscaling"
        policy = {
            "PolicyName": "calls",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 10.0,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
            },
        }
        refused(
            "ObjectNotFoundException",
            lambda: ask(cloud, service, "PutScalingPolicy", **which, **policy),
        )
        ask(cloud, service, "RegisterScalableTarget", **which, MinCapacity=1, MaxCapacity=2)
        made = ask(cloud, service, "PutScalingPolicy", **which, **policy)
        assert len(made["Alarms"]) == 2
        listed = ask(cloud, service, "DescribeScalingPolicies", ServiceNamespace="sagemaker")
        assert listed["ScalingPolicies"][0]["PolicyARN"] == made["PolicyARN"]
        assert len(ask(cloud, "cloudwatch", "DescribeAlarms")["MetricAlarms"]) == 2
        ask(cloud, service, "DeregisterScalableTarget", **which)
        targets = ask(cloud, service, "DescribeScalableTargets", ServiceNamespace="sagemaker")
        assert targets == {"ScalableTargets": []}
        assert ask(cloud, "cloudwatch", "DescribeAlarms")["MetricAlarms"] == []

    def test_quotas(self, cloud: CheckedRehearsal) -> None:
        name = "ml.g6.xlarge for endpoint usage"
        cloud.faults.quotas[name] = 3.0
        request = Request("service-quotas", "ListServiceQuotas", {"ServiceCode": "sagemaker"})
        found = {each["QuotaName"]: each for each in cloud.pages(request, "Quotas")}
        assert found[name]["Value"] == 3.0
        code = found[name]["QuotaCode"]
        one = ask(
            cloud, "service-quotas", "GetServiceQuota", ServiceCode="sagemaker", QuotaCode=code
        )
        assert one["Quota"] == found[name]


class TestLogs:
    def test_followed_by_tokens(self, cloud: CheckedRehearsal) -> None:
        group = "/aws/sagemaker/TrainingJobs"
        refused(
            "ResourceNotFoundException",
            lambda: ask(cloud, "logs", "DescribeLogStreams", logGroupName=group),
        )
        train(cloud, "one")
        streams = ask(cloud, "logs", "DescribeLogStreams", logGroupName=group)["logStreams"]
        which = {"logGroupName": group, "logStreamName": streams[0]["logStreamName"]}
        first = ask(cloud, "logs", "GetLogEvents", **which, startFromHead=True, limit=1)
        assert [each["message"] for each in first["events"]] == [
            "starts after epoch 0 with ['epochs']"
        ]
        token = first["nextForwardToken"]
        rest = ask(cloud, "logs", "GetLogEvents", **which, nextToken=token)
        assert [each["message"] for each in rest["events"]] == [
            "motrail: epoch=1 AP=0.0500 loss=1.00",
            "motrail: epoch=2 AP=0.1000 loss=0.50",
        ]
        token = rest["nextForwardToken"]
        last = ask(cloud, "logs", "GetLogEvents", **which, nextToken=token)
        assert (last["events"], last["nextForwardToken"]) == ([], token)
