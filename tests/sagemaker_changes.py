"""What can be wrong with a request: one change each, and the rule it breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_valid import ACCOUNT, BUCKET, LAMBDAS, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

GONE = object()
Change = tuple[str, str, object, str, str]
"""Name of a right request, path of what is changed, to what, the rule, part of the message."""


def _append(item: object) -> Callable[[list[object]], list[object]]:
    return lambda items: [*items, item]


def _twice(items: list[object]) -> list[object]:
    return [*items, items[0]]


T, D, H = "CreateTrainingJob", "CreateTrainingJob on demand", "CreateHyperParameterTuningJob"
L, M, P = "CreateLabelingJob", "CreateModel", "CreateProcessingJob"
R, S, A, C = (
    f"CreateEndpointConfig {kind}" for kind in ("real-time", "serverless", "async", "CPU")
)
TARGET, ZERO = "RegisterScalableTarget", "RegisterScalableTarget async"
TRACK, STEPS = "PutScalingPolicy tracking", "PutScalingPolicy steps"
ALARM, CALL, ASYNC = "PutMetricAlarm", "InvokeEndpoint", "InvokeEndpointAsync"

ALGORITHM = "AlgorithmSpecification"
SOURCE = "InputDataConfig/0/DataSource/S3DataSource"
TUNE = "HyperParameterTuningJobConfig"
RANGE = f"{TUNE}/ParameterRanges"
LOGARITHMIC = f"{RANGE}/ContinuousParameterRanges/0"
TASK = "HumanTaskConfig"
OUTPUT = "AsyncInferenceConfig/OutputConfig"
INPUT = "ProcessingInputs/0/S3Input"
STEP = "StepScalingPolicyConfiguration"
TRACKING = "TargetTrackingScalingPolicyConfiguration"
VARIANT = "ProductionVariants/0"
CLUSTER = "ProcessingResources/ClusterConfig"
SPOT_WAIT = "StoppingCondition/MaxWaitTimeInSeconds"
KEY = "AKIAIOSFODNN7EXAMPLE"
CPU = {"ModelName": "m", "InstanceType": "ml.c7i.xlarge", "InitialInstanceCount": 1}

CHANGES: list[Change] = [
    # What the service's own model says.
    (T, "RoleArn", GONE, "required", "RoleArn: expected a value, found none"),
    (T, "StoppingConditon", {}, "unknown-member", "did you mean 'StoppingCondition'?"),
    (T, "TrainingJobName", 5, "type", "TrainingJobName: expected text, found 5"),
    (T, "HyperParameters/epochs", 3, "type", "HyperParameters.epochs: expected text, found 3"),
    (T, "EnableManagedSpotTraining", "yes", "type", "expected True or False, found 'yes'"),
    (T, "ResourceConfig/InstanceCount", True, "type", "expected a whole number, found True"),
    (T, "ResourceConfig/InstanceCount", 1.0, "type", "expected a whole number, found 1.0"),
    (T, "Tags", {}, "type", "Tags: expected a list, found {}"),
    (T, "InputDataConfig/0", "dataset", "type", "InputDataConfig[0]: expected a dict"),
    (T, "TrainingJobName", "x" * 64, "length", "expected at most 63 characters, found 64"),
    (T, "TrainingJobName", "", "length", "expected at least 1 characters, found 0"),
    (T, "TrainingJobName", "motrail_train", "pattern", "found 'motrail_train'"),
    (T, "TrainingJobName", "motrail-", "pattern", "found 'motrail-'"),
    (T, "TrainingJobName", "motrail\n", "pattern", r"found 'motrail\n'"),
    (T, "ResourceConfig/InstanceType", "ml.bogus.xlarge", "enum", "found 'ml.bogus.xlarge'"),
    (T, "ResourceConfig/InstanceType", "ml.g6e.2xlage", "enum", "did you mean 'ml.g6e.2xlarge'?"),
    (T, f"{ALGORITHM}/TrainingInputMode", "file", "enum", "expected Pipe, File, FastFile"),
    (
        T,
        f"{ALGORITHM}/MetricDefinitions",
        [{"Name": f"m{i}", "Regex": "(a)"} for i in range(41)],
        "length",
        "expected at most 40 items, found 41",
    ),
    (
        T,
        f"{ALGORITHM}/MetricDefinitions/0/Regex",
        f"({'a' * 499})",
        "length",
        "expected at most 500 characters, found 501",
    ),
    (
        T,
        "HyperParameters",
        {f"k{i}": "1" for i in range(101)},
        "length",
        "expected at most 100 entries, found 101",
    ),
    (T, "HyperParameters/epochs", "3" * 2501, "length", "at most 2,500 characters"),
    (T, "HyperParameters", {"k" * 257: "1"}, "length", "at most 256 characters, found 257"),
    (T, "Environment", {"9LIVES": "1"}, "pattern", "found '9LIVES'"),
    (T, "Environment/X", "v" * 513, "length", "at most 512 characters, found 513"),
    (T, "RoleArn", "arn:aws:iam::12:role/x-y", "pattern", "RoleArn: expected text that matches"),
    (T, "RoleArn", f"arn:aws:iam::{ACCOUNT}:user/someone", "pattern", "RoleArn: expected text"),
    (T, "Tags", [{"Key": f"k{i}", "Value": ""} for i in range(51)], "length", "at most 50 items"),
    (T, "Tags/0/Key", "k" * 129, "length", "expected at most 128 characters, found 129"),
    (T, "Tags/0/Value", "a*b", "pattern", "found 'a*b'"),
    (T, "InputDataConfig", [], "length", "expected at least 1 items, found 0"),
    (T, "StoppingCondition/MaxRuntimeInSeconds", 0, "range", "expected at least 1, found 0"),
    (T, "ResourceConfig/KeepAlivePeriodInSeconds", 21_601, "range", "at most 21,600"),
    (H, "HyperParameterTuningJobName", "x" * 33, "length", "at most 32 characters, found 33"),
    (H, f"{TUNE}/Strategy", "Simulated", "enum", "expected Bayesian, Random, Hyperband, Grid"),
    (L, f"{TASK}/NumberOfHumanWorkersPerDataObject", 10, "range", "at most 9, found 10"),
    (L, f"{TASK}/TaskKeywords", ["a"] * 6, "length", "at most 5 items, found 6"),
    (S, f"{VARIANT}/ServerlessConfig/MemorySizeInMB", 7168, "range", "at most 6,144, found 7,168"),
    (S, f"{VARIANT}/ServerlessConfig/MaxConcurrency", 201, "range", "at most 200, found 201"),
    (R, f"{VARIANT}/InferenceAmiVersion", "al2-gpu-3-1", "enum", "InferenceAmiVersion: expected"),
    (R, f"{VARIANT}/InitialVariantWeight", float("nan"), "range", "a finite number, found nan"),
    (R, f"{VARIANT}/InitialVariantWeight", -1.0, "range", "expected at least 0, found -1"),
    (R, "DataCaptureConfig/InitialSamplingPercentage", 101, "range", "at most 100, found 101"),
    (
        A,
        "AsyncInferenceConfig/ClientConfig/MaxConcurrentInvocationsPerInstance",
        1001,
        "range",
        "at most 1,000, found 1,001",
    ),
    (A, f"{OUTPUT}/NotificationConfig/ErrorTopic", "errors", "pattern", "found 'errors'"),
    (P, "StoppingCondition/MaxRuntimeInSeconds", 777_601, "range", "at most 777,600"),
    (P, f"{CLUSTER}/InstanceCount", 101, "range", "at most 100, found 101"),
    (P, f"{CLUSTER}/VolumeSizeInGB", 16_385, "range", "at most 16,384"),
    (P, "Environment/X", "v" * 257, "length", "at most 256 characters, found 257"),
    (CALL, "SessionId", "a_b", "pattern", "SessionId: expected text that matches"),
    (CALL, "SessionId", "s" * 257, "length", "expected at most 256 characters, found 257"),
    (CALL, "CustomAttributes", "a" * 1025, "length", "at most 1,024 characters, found 1,025"),
    (CALL, "Body", 5, "type", "Body: expected bytes, found 5"),
    (ASYNC, "InvocationTimeoutSeconds", 3601, "range", "expected at most 3,600, found 3,601"),
    (ASYNC, "RequestTTLSeconds", 21_601, "range", "expected at most 21,600"),
    (ASYNC, "Body", b"x" * 128_001, "length", "at most 128,000 bytes, found 128,001"),
    (TARGET, "ServiceNamespace", "sagemakr", "enum", "did you mean 'sagemaker'?"),
    (ALARM, "AlarmActions", ["arn:aws:x:::y"] * 6, "length", "at most 5 items, found 6"),
    # Places, images, tags.
    (T, f"{SOURCE}/S3Uri", "https://motrail-bucket/x", "s3-uri", "expected s3://bucket/key"),
    (T, f"{SOURCE}/S3Uri", "s3://Motrail/x", "s3-uri", "found 'Motrail'"),
    (T, f"{SOURCE}/S3Uri", "s3://ab/x", "s3-uri", "a bucket of 3 to 63"),
    (T, f"{SOURCE}/S3Uri", "s3://192.168.1.1/x", "s3-uri", "found '192.168.1.1'"),
    (T, f"{SOURCE}/S3Uri", "s3://a..b/x", "s3-uri", "found 'a..b'"),
    (T, f"{SOURCE}/S3Uri", f"{BUCKET}-s3alias/x", "s3-uri", "found 'motrail-bucket-s3alias'"),
    (T, f"{SOURCE}/S3Uri", f"{BUCKET}/a\x00b", "s3-uri", "without control characters"),
    (T, "OutputDataConfig/S3OutputPath", "s3://-bucket/", "s3-uri", "OutputDataConfig.S3Output"),
    (T, "CheckpointConfig/S3Uri", "s3://bucket_1/x", "s3-uri", "CheckpointConfig.S3Uri"),
    (M, "PrimaryContainer/ModelDataUrl", "s3://B/m.tar.gz", "s3-uri", "ModelDataUrl"),
    (A, f"{OUTPUT}/S3OutputPath", "https://bucket/x", "s3-uri", "S3OutputPath"),
    (ASYNC, "InputLocation", "https://bucket/x", "s3-uri", "InputLocation: expected s3://"),
    (T, f"{ALGORITHM}/TrainingImage", "registry/motrail", "image", "a tag other than latest"),
    (M, "PrimaryContainer/Image", "registry/motrail:latest", "image", "a tag other than latest"),
    (P, "AppSpecification/ImageUri", "motrail:1", "image", "registry/repository:tag"),
    (T, "RoleArn", f"arn:aws:iam::{ACCOUNT}:role/{'r' * 65}", "role-arn", "1 to 64 characters"),
    (T, "Tags", _twice, "tags", "'motrail:project' twice"),
    (T, "Tags/0/Key", "aws:mine", "tags", "does not begin with aws:"),
    (ALARM, "Tags", [{"Key": f"k{i}", "Value": ""} for i in range(51)], "tags", "found 51"),
    (TARGET, "Tags", {"AWS:x": ""}, "tags", "does not begin with aws:"),
    (
        A,
        f"{OUTPUT}/NotificationConfig/ErrorTopic",
        f"arn:aws:sns:us-east-1:{ACCOUNT}:errors",
        "one-region",
        "found eu-west-1, us-east-1",
    ),
    (T, "HyperParameters/key", KEY, "no-secrets", "HyperParameters.key: expected nothing secret"),
    (T, "Environment/PASSWORD", "hunter2", "no-secrets", "Environment.PASSWORD"),
    (P, "AppSpecification/ContainerArguments", _append(KEY), "no-secrets", "Arguments[3]"),
    (M, "PrimaryContainer/Environment/AWS_SECRET_ACCESS_KEY", "x", "no-secrets", "Environment"),
    ("CreateStack", "TemplateBody", "x" * 51_201, "template", "at most 51,200 bytes"),
    ("CreateStack", "TemplateURL", "https://x", "template", "either TemplateBody or TemplateURL"),
    # Training.
    (T, SPOT_WAIT, 60, "max-wait", "expected at least MaxRuntimeInSeconds (3600), found 60"),
    (T, SPOT_WAIT, 3599, "max-wait", "found 3599"),
    (T, SPOT_WAIT, GONE, "max-wait", "a limit, as EnableManagedSpotTraining is on"),
    (D, SPOT_WAIT, 7200, "max-wait", "expected none without EnableManagedSpotTraining"),
    (H, f"TrainingJobDefinition/{SPOT_WAIT}", 60, "max-wait", "TrainingJobDefinition.Stopping"),
    (D, "StoppingCondition/MaxRuntimeInSeconds", 2_419_201, "max-runtime", "at most 2419200"),
    (D, "StoppingCondition", GONE, "max-runtime", "expected a limit, found none"),
    (T, "CheckpointConfig", GONE, "spot-checkpoints", "CheckpointConfig: expected a place"),
    (T, "CheckpointConfig/LocalPath", "/opt/ml/model/x", "checkpoint-path", "a folder such as"),
    (T, "CheckpointConfig/LocalPath", "checkpoints", "checkpoint-path", "found 'checkpoints'"),
    (T, "CheckpointConfig/LocalPath", "/opt/ml/../x", "checkpoint-path", "found '/opt/ml/../x'"),
    (T, "ResourceConfig", GONE, "instance-choice", "expected instances to run on"),
    (T, "ResourceConfig/InstanceType", GONE, "instance-choice", "found none"),
    (T, "ResourceConfig/InstanceCount", 0, "instance-choice", "expected at least 1, found 0"),
    (T, "ResourceConfig/SelectedInstanceCount", 1, "instance-choice", "it is only ever answered"),
    (D, "EnableManagedSpotTraining", True, "instance-preferences", "is on, found a list"),
    (D, "ResourceConfig/InstancePreferences", _twice, "instance-preferences", "g6e.2xlarge twice"),
    (D, "ResourceConfig/InstanceCount", GONE, "instance-preferences", "or one for the job"),
    (
        D,
        "ResourceConfig/InstancePreferences/0/InstanceCount",
        1,
        "instance-preferences",
        "no InstanceCount beside the job's own",
    ),
    (T, "ResourceConfig/VolumeKmsKeyId", "k", "volume-kms", "no key for ml.g6e.2xlarge"),
    (P, f"{CLUSTER}/VolumeKmsKeyId", "k", "volume-kms", "no key for ml.g6.xlarge"),
    (R, "KmsKeyId", "k", "volume-kms", "KmsKeyId: expected no key for ml.g6.xlarge"),
    (T, f"{ALGORITHM}/TrainingImage", GONE, "training-image", "found neither"),
    (T, f"{ALGORITHM}/AlgorithmName", "mine", "training-image", "found both"),
    (T, f"{ALGORITHM}/MetricDefinitions/0/Regex", "AP=(", "metric-regex", "a regular expression"),
    (T, f"{ALGORITHM}/MetricDefinitions/0/Regex", "AP=", "metric-regex", "found 0 groups"),
    (T, f"{ALGORITHM}/MetricDefinitions/0/Regex", "(A)(P)", "metric-regex", "found 2 groups"),
    (T, f"{ALGORITHM}/MetricDefinitions", _twice, "metric-names", "'validation:AP' twice"),
    (T, "InputDataConfig", _twice, "channels", "'dataset' twice"),
    (T, "InputDataConfig/0/ChannelName", "..", "channels", "the name of a folder, found '..'"),
    (T, "InputDataConfig/0/DataSource", {}, "channels", "one source, found none"),
    (T, "InputDataConfig/1/CompressionType", "Gzip", "file-mode", "None outside Pipe mode"),
    # Tuning.
    (H, "TrainingJobDefinition", GONE, "definitions", "found neither"),
    (
        H,
        f"{TUNE}/HyperParameterTuningJobObjective/MetricName",
        "validation:loss",
        "objective",
        "one of the metrics defined (validation:AP, train:loss), found 'validation:loss'",
    ),
    (H, f"{TUNE}/HyperParameterTuningJobObjective", GONE, "objective", "a metric to go by"),
    (H, f"{TUNE}/ResourceLimits/MaxParallelTrainingJobs", 21, "parallel-jobs", "(20), found 21"),
    (H, f"{RANGE}/IntegerParameterRanges", _twice, "parameter-names", "'batch' twice"),
    (H, RANGE, {}, "parameter-names", "1 to 30 parameters, found 0"),
    (
        H,
        "TrainingJobDefinition/StaticHyperParameters/batch",
        "8",
        "parameter-names",
        "none that is searched, found 'batch' in both",
    ),
    (H, f"{LOGARITHMIC}/MinValue", "0", "parameter-range", "more than 0 on a logarithmic scale"),
    (H, f"{LOGARITHMIC}/MinValue", "0.01", "parameter-range", "more than MinValue (0.01)"),
    (H, f"{LOGARITHMIC}/MaxValue", "much", "parameter-range", "a finite number, found 'much'"),
    (H, f"{LOGARITHMIC}/MaxValue", "inf", "parameter-range", "a finite number, found 'inf'"),
    (
        H,
        f"{RANGE}/IntegerParameterRanges/0/MinValue",
        "4.5",
        "parameter-range",
        "a whole number, found '4.5'",
    ),
    (H, f"{TUNE}/Strategy", "Grid", "grid", "CategoricalParameterRanges only"),
    (H, f"{TUNE}/Strategy", "Hyperband", "hyperband", "Off with Hyperband, found Auto"),
    (H, f"{TUNE}/StrategyConfig", {}, "hyperband", "none unless Strategy is Hyperband"),
    # Labelling.
    (L, "LabelAttributeName", "players", "label-attribute", "ends in -ref, found 'players'"),
    (L, "LabelAttributeName", "x-metadata", "label-attribute", "does not end in -metadata"),
    (L, f"{TASK}/NumberOfHumanWorkersPerDataObject", 3, "workers", "1 for video, found 3"),
    (
        L,
        f"{TASK}/WorkteamArn",
        f"arn:aws:sagemaker:{REGION}:394669845002:workteam/public-crowd/default",
        "workteam",
        "found Mechanical Turk",
    ),
    (L, f"{TASK}/PublicWorkforceTaskPrice", {}, "workteam", "none for a private or vendor team"),
    (
        L,
        "LabelingJobAlgorithmsConfig",
        {"LabelingJobAlgorithmSpecificationArn": "arn:x"},
        "no-algorithm",
        "none for video",
    ),
    (L, "LabelCategoryConfigS3Uri", GONE, "label-input", "the label category file, found none"),
    (L, "InputConfig/DataSource", {}, "label-input", "S3DataSource, found none"),
    (
        L,
        f"{TASK}/PreHumanTaskLambdaArn",
        f"{LAMBDAS}:PRE-AdjustmentVideoObjectTracking",
        "label-functions",
        "functions of one task type",
    ),
    (
        L,
        f"{TASK}/PreHumanTaskLambdaArn",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:PRE-VideoObjectTracking",
        "label-functions",
        "another account",
    ),
    (L, f"{TASK}/AnnotationConsolidationConfig", GONE, "label-functions", "ACS-VideoObject"),
    (L, f"{TASK}/UiConfig/HumanTaskUiArn", GONE, "label-functions", "of VideoObjectTracking"),
    (L, f"{TASK}/TaskTimeLimitInSeconds", 2_592_001, "label-times", "at most 2592000"),
    # Models and endpoints.
    (M, "PrimaryContainer", GONE, "model-container", "found neither"),
    (M, "PrimaryContainer/Image", GONE, "model-container", "either Image or ModelPackageName"),
    (M, "ExecutionRoleArn", GONE, "model-role", "ExecutionRoleArn: expected a role"),
    (M, "PrimaryContainer/ModelDataUrl", f"{BUCKET}/model.zip", "model-data", "ends in .tar.gz"),
    (
        M,
        "PrimaryContainer/Environment",
        {f"V{i}": "x" * 1000 for i in range(33)},
        "environment-size",
        "at most 32,768 bytes in all",
    ),
    (R, f"{VARIANT}/VariantName", "next", "variant-names", "'next' twice"),
    (R, f"{VARIANT}/ModelName", GONE, "variant-model", "ModelName: expected a model"),
    (R, f"{VARIANT}/InstanceType", GONE, "variant-instances", "found none"),
    (R, f"{VARIANT}/InitialInstanceCount", GONE, "variant-instances", "expected at least 1"),
    (R, f"{VARIANT}/InferenceAmiVersion", GONE, "inference-ami", "for ml.g6.xlarge"),
    (
        R,
        f"{VARIANT}/InferenceAmiVersion",
        "al2-ami-sagemaker-inference-neuron-2",
        "inference-ami",
        "one with NVIDIA's driver for ml.g6.xlarge",
    ),
    (
        R,
        f"{VARIANT}/InferenceAmiVersion",
        "al2023-ami-sagemaker-inference-gpu-4-1",
        "inference-ami",
        "image's CUDA 12.4, found al2023-ami-sagemaker-inference-gpu-4-1 with CUDA 13.0",
    ),
    (R, "Tags/1/Value", "13.0", "inference-ami", "CUDA 13.0, found al2-ami-sagemaker-inference"),
    (R, "Tags/1/Value", "new", "inference-ami", "a version such as 12.4"),
    (
        C,
        f"{VARIANT}/InferenceAmiVersion",
        "al2-ami-sagemaker-inference-gpu-3-1",
        "inference-ami",
        "none for ml.c7i.xlarge, which has no GPU",
    ),
    (C, f"{VARIANT}/InitialVariantWeight", 0.0, "variant-weights", "a sum above 0, found 0"),
    (
        S,
        f"{VARIANT}/ServerlessConfig/MemorySizeInMB",
        3000,
        "serverless-memory",
        "one of 1024, 2048, 3072, 4096, 5120, 6144, found 3000",
    ),
    (
        S,
        f"{VARIANT}/ServerlessConfig/ProvisionedConcurrency",
        6,
        "serverless-concurrency",
        "at most MaxConcurrency (5), found 6",
    ),
    (S, f"{VARIANT}/InstanceType", "ml.g6.xlarge", "serverless-limits", "none beside Serverless"),
    (S, "VpcConfig", {"SecurityGroupIds": ["s"], "Subnets": ["s"]}, "serverless-limits", "VpcConf"),
    (A, f"{OUTPUT}/S3OutputPath", GONE, "async-output", "S3OutputPath: expected a place"),
    (A, f"{OUTPUT}/S3FailurePath", GONE, "async-output", "S3FailurePath: expected a place"),
    (A, f"{OUTPUT}/NotificationConfig/SuccessTopic", GONE, "async-topics", "expected a topic"),
    (R, "DataCaptureConfig/CaptureOptions", _twice, "capture-options", "Input twice"),
    (R, "DataCaptureConfig/InitialSamplingPercentage", 0, "capture-options", "at least 1"),
    (
        R,
        "ShadowProductionVariants",
        [{**CPU, "VariantName": "shadow"}],
        "shadow-variants",
        "one variant and one shadow, found 2 and 1",
    ),
    (
        "UpdateEndpoint",
        "DeploymentConfig",
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
            },
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
                "WaitIntervalInSeconds": 0,
            },
        },
        "deployment",
        "one update policy, found two",
    ),
    # Calls.
    (CALL, "Body", b"x" * (25 * 1024 * 1024 + 1), "payload", "found 26,214,401"),
    (CALL, "CustomAttributes", "a\r\nb", "headers", "CustomAttributes: expected visible ASCII"),
    (ASYNC, "InputLocation", GONE, "async-input", "found neither"),
    (ASYNC, "Body", b"x", "async-input", "found both"),
    (ASYNC, "RequestTTLSeconds", 3599, "async-time", "at least InvocationTimeoutSeconds (3600)"),
    # Processing.
    (P, f"{INPUT}/LocalPath", "/tmp/videos", "processing-paths", "below /opt/ml/processing/"),  # noqa: S108
    (P, f"{INPUT}/LocalPath", "/opt/ml/processing/../x", "processing-paths", "below /opt/ml"),
    (P, f"{INPUT}/LocalPath", "/opt/ml/processing/", "processing-paths", "below /opt/ml"),
    (P, f"{INPUT}/LocalPath", GONE, "processing-paths", "found none"),
    (
        P,
        f"{INPUT}/LocalPath",
        "/opt/ml/processing/output/videos",
        "processing-paths",
        "a folder apart from /opt/ml/processing/output/videos",
    ),
    (P, "ProcessingInputs/0/InputName", "model", "processing-names", "'model' twice"),
    (P, INPUT, GONE, "processing-source", "either S3Input or DatasetDefinition, found neither"),
    (P, f"{INPUT}/S3CompressionType", "Gzip", "processing-source", "None outside Pipe mode"),
    (P, f"{CLUSTER}/InstanceType", GONE, "processing-instances", "found neither"),
    (P, "StoppingCondition", GONE, "processing-time", "expected a limit, found none"),
    # Scaling.
    (TARGET, "ResourceId", "endpoint/x", "scalable-target", "endpoint/NAME/variant/NAME"),
    (TARGET, "ServiceNamespace", "ecs", "scalable-target", "expected sagemaker, found 'ecs'"),
    (TRACK, "ScalableDimension", "ecs:service:DesiredCount", "scalable-target", "DesiredInstance"),
    (TARGET, "MinCapacity", 5, "capacity", "MaxCapacity: expected at least 5, found 4"),
    (TARGET, "MinCapacity", -1, "capacity", "expected at least 0, found -1"),
    (TARGET, "MaxCapacity", GONE, "capacity", "MaxCapacity: expected a number, found none"),
    (TARGET, "MinCapacity", 0, "zero-capacity", "or the tag motrail:kind = async"),
    (ZERO, "Tags/motrail:kind", "realtime", "zero-capacity", "expected at least 1"),
    (TRACK, "PolicyType", "StepScaling", "scaling-policy", "expected one for StepScaling"),
    (TRACK, "PolicyType", GONE, "scaling-policy", "PolicyType: expected a type"),
    (TRACK, f"{TRACKING}/TargetValue", 0.0, "scaling-policy", "more than 0, found 0"),
    (TRACK, f"{TRACKING}/ScaleInCooldown", -1, "scaling-policy", "at least 0, found -1"),
    (
        TRACK,
        f"{TRACKING}/PredefinedMetricSpecification",
        GONE,
        "scaling-policy",
        "either PredefinedMetricSpecification or CustomizedMetricSpecification, found neither",
    ),
    (STEPS, f"{STEP}/StepAdjustments", [], "scaling-policy", "expected at least one"),
    (STEPS, f"{STEP}/AdjustmentType", GONE, "scaling-policy", "AdjustmentType: expected a type"),
    (
        STEPS,
        f"{STEP}/StepAdjustments/1/MetricIntervalLowerBound",
        4.0,
        "scaling-policy",
        "without gap or overlap, found 5 and 4",
    ),
    (ALARM, "Period", 45, "alarm-period", "10, 20, 30 or a multiple of 60, found 45"),
    (ALARM, "EvaluationPeriods", 1441, "alarm-period", "at most 86400 seconds"),
    (ALARM, "Threshold", GONE, "alarm-metric", "Threshold: expected a value"),
    (ALARM, "Statistic", GONE, "alarm-metric", "either Statistic or ExtendedStatistic"),
    (ALARM, "MetricName", GONE, "alarm-metric", "one of MetricName, Metrics, EvaluationCriteria"),
    (ALARM, "DatapointsToAlarm", 3, "alarm-points", "at most EvaluationPeriods (2), found 3"),
    (ALARM, "TreatMissingData", "ignored", "alarm-points", "found 'ignored'"),
    (ALARM, "AlarmActions", ["policy"], "alarm-actions", "AlarmActions[0]: expected an ARN"),
]
