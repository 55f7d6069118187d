"""Requests written by hand from the API reference, every one of them right."""

from __future__ import annotations

import copy
from typing import Any

from motrail.sagemaker.request import Request

ACCOUNT = "123456789012"
REGION = "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/motrail-training"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:motrail"
BUCKET = "s3://motrail-bucket"
TAGS = [{"Key": "motrail:project", "Value": "motrail"}]
LAMBDAS = f"arn:aws:lambda:{REGION}:568282634449:function"
GPU_AMI = "al2-ami-sagemaker-inference-gpu-3-1"
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/motrail-endpoint/variant/main",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}

_CHANNEL = {
    "ChannelName": "dataset",
    "DataSource": {
        "S3DataSource": {
            "S3DataType": "S3Prefix",
            "S3Uri": f"{BUCKET}/datasets/football/",
            "S3DataDistributionType": "FullyReplicated",
        }
    },
    "InputMode": "FastFile",
}
_ALGORITHM = {
    "TrainingImage": f"{REGISTRY}/motrail-training:0.1.0",
    "TrainingInputMode": "File",
    "MetricDefinitions": [
        {"Name": "validation:AP", "Regex": "motrail: .*AP=([0-9.]+)"},
        {"Name": "train:loss", "Regex": "motrail: .*loss=([0-9.]+)"},
    ],
}
_TRAINING = {
    "AlgorithmSpecification": _ALGORITHM,
    "RoleArn": ROLE,
    "InputDataConfig": [_CHANNEL, {**_CHANNEL, "ChannelName": "weights", "InputMode": "File"}],
    "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/training/"},
    "ResourceConfig": {"InstanceType": "ml.g6e.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
    "EnableManagedSpotTraining": True,
    "CheckpointConfig": {"S3Uri": f"{BUCKET}/checkpoints/", "LocalPath": "/opt/ml/checkpoints"},
}
_VARIANT = {
    "VariantName": "main",
    "ModelName": "motrail-model",
    "InstanceType": "ml.g6.xlarge",
    "InitialInstanceCount": 1,
    "InitialVariantWeight": 1.0,
    "InferenceAmiVersion": GPU_AMI,
    "ContainerStartupHealthCheckTimeoutInSeconds": 600,
}


def _input(name: str, kind: str = "FullyReplicated") -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": f"{BUCKET}/batch/{name}/",
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": kind,
        },
    }


_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "CreateTrainingJob": (
        "sagemaker",
        _TRAINING
        | {
            "TrainingJobName": "motrail-train-20261123-191500-3f2a",
            "HyperParameters": {"model": "yolox-nano", "epochs": "3", "seed": "1"},
            "Environment": {"MOTRAIL_TRAIN_WORKERS": "4"},
            "Tags": TAGS,
        },
    ),
    "CreateTrainingJob on demand": (
        "sagemaker",
        {key: value for key, value in _TRAINING.items() if key != "CheckpointConfig"}
        | {
            "TrainingJobName": "motrail-train-2",
            "ResourceConfig": {
                "InstanceCount": 2,
                "VolumeSizeInGB": 50,
                "InstancePreferences": [
                    {"InstanceType": "ml.g6e.2xlarge"},
                    {"InstanceType": "ml.g5.2xlarge"},
                ],
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "EnableManagedSpotTraining": False,
        },
    ),
    "CreateHyperParameterTuningJob": (
        "sagemaker",
        {
            "HyperParameterTuningJobName": "motrail-tune-1123-3f2a",
            "HyperParameterTuningJobConfig": {
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {
                    "Type": "Maximize",
                    "MetricName": "validation:AP",
                },
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": {
                    "ContinuousParameterRanges": [
                        {
                            "Name": "learning_rate",
                            "MinValue": "0.0001",
                            "MaxValue": "0.01",
                            "ScalingType": "Logarithmic",
                        }
                    ],
                    "IntegerParameterRanges": [
                        {"Name": "batch", "MinValue": "4", "MaxValue": "32"}
                    ],
                    "CategoricalParameterRanges": [
                        {"Name": "optimizer", "Values": ["sgd", "adam"]}
                    ],
                },
                "TrainingJobEarlyStoppingType": "Auto",
            },
            "TrainingJobDefinition": _TRAINING | {"StaticHyperParameters": {"epochs": "30"}},
            "Tags": TAGS,
        },
    ),
    "CreateLabelingJob": (
        "sagemaker",
        {
            "LabelingJobName": "motrail-label-1",
            "LabelAttributeName": "motrail-label-1-ref",
            "InputConfig": {
                "DataSource": {
                    "S3DataSource": {"ManifestS3Uri": f"{BUCKET}/labeling/1/input.manifest"}
                },
                "DataAttributes": {"ContentClassifiers": ["FreeOfAdultContent"]},
            },
            "OutputConfig": {"S3OutputPath": f"{BUCKET}/labeling/1/output/"},
            "RoleArn": ROLE,
            "LabelCategoryConfigS3Uri": f"{BUCKET}/labeling/1/categories.json",
            "HumanTaskConfig": {
                "WorkteamArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:workteam/private-crowd/us",
                "UiConfig": {
                    "HumanTaskUiArn": (
                        f"arn:aws:sagemaker:{REGION}:394669845002:human-task-ui/VideoObjectTracking"
                    )
                },
                "PreHumanTaskLambdaArn": f"{LAMBDAS}:PRE-VideoObjectTracking",
                "TaskTitle": "Track the players",
                "TaskDescription": "Draw a box around each player in all frames.",
                "NumberOfHumanWorkersPerDataObject": 1,
                "TaskTimeLimitInSeconds": 28_800,
                "TaskAvailabilityLifetimeInSeconds": 864_000,
                "AnnotationConsolidationConfig": {
                    "AnnotationConsolidationLambdaArn": f"{LAMBDAS}:ACS-VideoObjectTracking"
                },
            },
            "Tags": TAGS,
        },
    ),
    "CreateModel": (
        "sagemaker",
        {
            "ModelName": "motrail-model",
            "PrimaryContainer": {
                "Image": f"{REGISTRY}/motrail-serving:0.1.0-cu124",
                "ModelDataUrl": f"{BUCKET}/models/football/model.tar.gz",
                "Environment": {"MOTRAIL_SERVE_SESSIONS": "4"},
            },
            "ExecutionRoleArn": ROLE,
            "Tags": TAGS,
        },
    ),
    "CreateEndpointConfig real-time": (
        "sagemaker",
        {
            "EndpointConfigName": "motrail-config",
            "ProductionVariants": [
                {**_VARIANT, "InitialVariantWeight": 0.9},
                {**_VARIANT, "VariantName": "next", "InitialVariantWeight": 0.1},
            ],
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 10,
                "DestinationS3Uri": f"{BUCKET}/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            },
            "Tags": [*TAGS, {"Key": "motrail:cuda", "Value": "12.4"}],
        },
    ),
    "CreateEndpointConfig serverless": (
        "sagemaker",
        {
            "EndpointConfigName": "motrail-config",
            "ProductionVariants": [
                {
                    "VariantName": "main",
                    "ModelName": "motrail-model",
                    "ServerlessConfig": {"MemorySizeInMB": 4096, "MaxConcurrency": 5},
                }
            ],
            "Tags": TAGS,
        },
    ),
    "CreateEndpointConfig async": (
        "sagemaker",
        {
            "EndpointConfigName": "motrail-config",
            "ProductionVariants": [_VARIANT],
            "AsyncInferenceConfig": {
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
                "OutputConfig": {
                    "S3OutputPath": f"{BUCKET}/async/output/",
                    "S3FailurePath": f"{BUCKET}/async/failure/",
                    "NotificationConfig": {
                        "SuccessTopic": f"{TOPIC}-success",
                        "ErrorTopic": f"{TOPIC}-error",
                        "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
                    },
                },
            },
        },
    ),
    "CreateEndpointConfig CPU": (
        "sagemaker",
        {
            "EndpointConfigName": "motrail-config",
            "ProductionVariants": [
                {
                    "VariantName": "main",
                    "ModelName": "motrail-model",
                    "InstanceType": "ml.c7i.xlarge",
                    "InitialInstanceCount": 1,
                }
            ],
            "KmsKeyId": "1234abcd-12ab-34cd-56ef-1234567890ab",
        },
    ),
    "CreateEndpoint": (
        "sagemaker",
        {
            "EndpointName": "motrail-endpoint",
            "EndpointConfigName": "motrail-config",
            "Tags": [{"Key": "Größe/Team", "Value": "Fußball 日本 ½"}],
        },
    ),
    "CreateProcessingJob": (
        "sagemaker",
        {
            "ProcessingJobName": "motrail-batch-1",
            "ProcessingInputs": [_input("videos", "ShardedByS3Key"), _input("model")],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "output",
                        "S3Output": {
                            "S3Uri": f"{BUCKET}/batch/1/detections/",
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "Continuous",
                        },
                    }
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 3,
                    "InstanceType": "ml.g6.xlarge",
                    "VolumeSizeInGB": 50,
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 777_600},
            "AppSpecification": {
                "ImageUri": f"{REGISTRY}/motrail-serving:0.1.0",
                "ContainerEntrypoint": ["process"],
                "ContainerArguments": ["detect", "--stride", "2"],
            },
            "Environment": {"MOTRAIL_DETECTOR_DEVICE": "cuda"},
            "RoleArn": ROLE,
            "Tags": TAGS,
        },
    ),
    "RegisterScalableTarget": (
        "application-autoscaling",
        TARGET | {"MinCapacity": 1, "MaxCapacity": 4, "Tags": {"motrail:project": "motrail"}},
    ),
    "RegisterScalableTarget async": (
        "application-autoscaling",
        TARGET | {"MinCapacity": 0, "MaxCapacity": 4, "Tags": {"motrail:kind": "async"}},
    ),
    "PutScalingPolicy tracking": (
        "application-autoscaling",
        TARGET
        | {
            "PolicyName": "invocations",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 70.0,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
                "ScaleInCooldown": 300,
            },
        },
    ),
    "PutScalingPolicy steps": (
        "application-autoscaling",
        TARGET
        | {
            "PolicyName": "wake",
            "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [
                    {
                        "MetricIntervalLowerBound": 0.0,
                        "MetricIntervalUpperBound": 5.0,
                        "ScalingAdjustment": 1,
                    },
                    {"MetricIntervalLowerBound": 5.0, "ScalingAdjustment": 2},
                ],
            },
        },
    ),
    "PutMetricAlarm": (
        "cloudwatch",
        {
            "AlarmName": "motrail-backlog",
            "Namespace": "AWS/SageMaker",
            "MetricName": "HasBacklogWithoutCapacity",
            "Dimensions": [{"Name": "EndpointName", "Value": "motrail-endpoint"}],
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 2,
            "DatapointsToAlarm": 2,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "missing",
            "AlarmActions": [f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:1:resource/x"],
            "Tags": TAGS,
        },
    ),
    "InvokeEndpoint": (
        "sagemaker-runtime",
        {
            "EndpointName": "motrail-endpoint",
            "Body": b"\xff\xd8\xff",
            "ContentType": "image/jpeg",
            "Accept": "text/csv",
            "SessionId": "NEW_SESSION",
            "CustomAttributes": "frame_rate=25;video.stride=2",
            "TargetVariant": "main",
        },
    ),
    "InvokeEndpointAsync": (
        "sagemaker-runtime",
        {
            "EndpointName": "motrail-endpoint",
            "InputLocation": f"{BUCKET}/async/input/walking.mp4",
            "ContentType": "video/mp4",
            "InvocationTimeoutSeconds": 3600,
            "RequestTTLSeconds": 21_600,
            "InferenceId": "walking-1",
        },
    ),
    "UpdateEndpoint": (
        "sagemaker",
        {"EndpointName": "motrail-endpoint", "EndpointConfigName": "motrail-config-2"},
    ),
    "DescribeTrainingJob": ("sagemaker", {"TrainingJobName": "motrail-train-1"}),
    "StopTrainingJob": ("sagemaker", {"TrainingJobName": "motrail-train-1"}),
    "DeleteEndpoint": ("sagemaker", {"EndpointName": "motrail-endpoint"}),
    "ListTags": (
        "sagemaker",
        {"ResourceArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/motrail-endpoint"},
    ),
    "ListObjectsV2": ("s3", {"Bucket": "motrail-bucket", "Prefix": "datasets/"}),
    "DeleteObjects": ("s3", {"Bucket": "motrail-bucket", "Delete": {"Objects": [{"Key": "a"}]}}),
    "Publish": ("sns", {"TopicArn": TOPIC, "Message": "done"}),
    "CreateStack": ("cloudformation", {"StackName": "motrail", "TemplateBody": "{}"}),
    "GetServiceQuota": (
        "service-quotas",
        {"ServiceCode": "sagemaker", "QuotaCode": "L-1234ABCD"},
    ),
    "FilterLogEvents": (
        "logs",
        {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamNamePrefix": "motrail-train-1"},
    ),
    "GetCallerIdentity": ("sts", {}),
    "DescribeRepositories": ("ecr", {"repositoryNames": ["motrail/serving"]}),
}


def names() -> list[str]:
    """Names of all requests: the operation, and a word where there are several of one."""
    return list(_PARAMETERS)


def valid(name: str) -> Request:
    """A request of its own, which may be changed."""
    service, parameters = _PARAMETERS[name]
    return Request(service, name.split(maxsplit=1)[0], copy.deepcopy(parameters))
