"""Rules about endpoint configurations and endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError
from motrail.sagemaker.cuda import MACHINE_IMAGES, MachineImage, read_cuda, runs
from motrail.sagemaker.requests.instances import has_gpu
from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown, twice

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG = "CreateEndpointConfig"
_MEMORY = tuple(range(1024, 6145, 1024))
_CUDA_TAG = "motrail:cuda"
_NOT_SERVERLESS = ("DataCaptureConfig", "AsyncInferenceConfig", "VpcConfig", "KmsKeyId")
_NOT_BESIDE = ("InstanceType", "InitialInstanceCount", "InferenceAmiVersion", "VolumeSizeInGB",
               "InstancePools", "AcceleratorType", "ManagedInstanceScaling",
               "ContainerStartupHealthCheckTimeoutInSeconds",
               "ModelDataDownloadTimeoutInSeconds")  # fmt: skip


def _variants(parameters: Parameters) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("ProductionVariants", "ShadowProductionVariants"):
        for index, variant in enumerate(parameters.get(name, ())):
            yield f"{name}[{index}]", variant


@rule("variant-names", _CONFIG)
def variant_names(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProductionVariant.VariantName`: it tells variants apart."""
    for name in twice([variant["VariantName"] for _, variant in _variants(parameters)]):
        yield Problem("ProductionVariants", "each VariantName once", f"{shown(name)} twice")


@rule("variant-model", _CONFIG)
def variant_model(parameters: Parameters) -> Iterator[Problem]:
    """Our own rule: every variant names its model; we make no inference components."""
    for path, variant in _variants(parameters):
        if "ModelName" not in variant:
            yield Problem(f"{path}.ModelName", "a model", "none")


@rule("variant-weights", _CONFIG)
def variant_weights(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProductionVariant.InitialVariantWeight`: a share of their sum."""
    variants = parameters["ProductionVariants"]
    total = sum(float(variant.get("InitialVariantWeight", 1.0)) for variant in variants)
    if total <= 0:
        yield Problem("ProductionVariants", "weights with a sum above 0", f"{total:g}")


@rule("shadow-variants", _CONFIG)
def shadow_variants(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `CreateEndpointConfig.ShadowProductionVariants`: one beside one."""
    shadows, variants = parameters.get("ShadowProductionVariants"), parameters["ProductionVariants"]
    if shadows is not None and (len(shadows), len(variants)) != (1, 1):
        found = f"{len(variants)} and {len(shadows)}"
        yield Problem("ShadowProductionVariants", "one variant and one shadow", found)


@rule("variant-instances", _CONFIG)
def variant_instances(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProductionVariant`: instances, pools of them, or serverless."""
    for path, variant in _variants(parameters):
        given = [
            name
            for name in ("InstanceType", "InstancePools", "ServerlessConfig")
            if name in variant
        ]
        if len(given) != 1:
            expected = "one of InstanceType, InstancePools and ServerlessConfig"
            yield Problem(path, expected, " and ".join(given) or "none")
        elif given == ["InstanceType"] and "InitialInstanceCount" not in variant:
            yield Problem(f"{path}.InitialInstanceCount", "at least 1", "none")


@rule("serverless-memory", _CONFIG)
def serverless_memory(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProductionVariantServerlessConfig.MemorySizeInMB`: whole GB."""
    for path, variant in _variants(parameters):
        size = variant.get("ServerlessConfig", {}).get("MemorySizeInMB", _MEMORY[0])
        if size not in _MEMORY:
            expected = f"one of {', '.join(map(str, _MEMORY))}"
            yield Problem(f"{path}.ServerlessConfig.MemorySizeInMB", expected, f"{size}")


@rule("serverless-concurrency", _CONFIG)
def serverless_concurrency(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProductionVariantServerlessConfig.ProvisionedConcurrency`."""
    for path, variant in _variants(parameters):
        config = variant.get("ServerlessConfig", {})
        most, kept = config.get("MaxConcurrency"), config.get("ProvisionedConcurrency")
        if most is not None and kept is not None and kept > most:
            where = f"{path}.ServerlessConfig.ProvisionedConcurrency"
            yield Problem(where, f"at most MaxConcurrency ({most})", f"{kept}")


@rule("serverless-limits", _CONFIG)
def serverless_limits(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Deploy models with serverless inference", "Feature exclusions".

    No GPU nor any other instance, no VPC, no data capture, no second variant.
    """
    variants = list(_variants(parameters))
    for path, variant in variants:
        if "ServerlessConfig" not in variant:
            continue
        for name in _NOT_BESIDE:
            if name in variant:
                yield Problem(
                    f"{path}.{name}", "none beside ServerlessConfig", shown(variant[name])
                )
        for name in _NOT_SERVERLESS:
            if name in parameters:
                yield Problem(name, "none for a serverless endpoint", "one")
        if len(variants) > 1:
            yield Problem("ProductionVariants", "one for serverless", f"{len(variants)}")


@rule("inference-ami", _CONFIG)
def inference_ami(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProductionVariant.InferenceAmiVersion`, the table of drivers.

    A GPU instance gets a machine image whose driver is known, never the default; a CPU instance
    gets none. The CUDA of the model's image, which is not in the request, is the tag
    `motrail:cuda` where there is one.
    """
    known = {item.name: item for item in MACHINE_IMAGES}
    tags = {tag["Key"]: tag["Value"] for tag in parameters.get("Tags", ())}
    for path, variant in _variants(parameters):
        kind, ami = variant.get("InstanceType", ""), variant.get("InferenceAmiVersion")
        where = f"{path}.InferenceAmiVersion"
        if not has_gpu(kind):
            if ami in known:
                yield Problem(where, f"none for {kind or 'no instance'}, which has no GPU", ami)
        elif ami not in known:
            expected = f"one with NVIDIA's driver for {kind} ({', '.join(known)})"
            yield Problem(where, expected, shown(ami) if ami else "none")
        elif _CUDA_TAG in tags:
            yield from _fits(known[ami], tags[_CUDA_TAG], where)


def _fits(ami: MachineImage, text: str, path: str) -> Iterator[Problem]:
    try:
        cuda = read_cuda(text)
    except ConfigError:
        yield Problem("Tags", f"a version such as 12.4 as {_CUDA_TAG}", shown(text))
        return
    if not runs(ami, cuda):
        found = f"{ami.name} with CUDA {ami.cuda[0]}.{ami.cuda[1]}"
        yield Problem(path, f"a driver for the image's CUDA {cuda[0]}.{cuda[1]}", found)


@rule("async-output", _CONFIG)
def async_output(parameters: Parameters) -> Iterator[Problem]:
    """Our own rule: answers and failures of an asynchronous endpoint have a place in S3.

    Without `S3FailurePath` a failure is only ever told to a topic.
    """
    if "AsyncInferenceConfig" in parameters:
        config = parameters["AsyncInferenceConfig"]["OutputConfig"]
        for name in ("S3OutputPath", "S3FailurePath"):
            if name not in config:
                yield Problem(f"AsyncInferenceConfig.OutputConfig.{name}", "a place", "none")


@rule("async-topics", _CONFIG)
def async_topics(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `AsyncInferenceNotificationConfig.IncludeInferenceResponseIn`."""
    output = parameters.get("AsyncInferenceConfig", {}).get("OutputConfig", {})
    config = output.get("NotificationConfig", {})
    included = config.get("IncludeInferenceResponseIn", [])
    path = "AsyncInferenceConfig.OutputConfig.NotificationConfig"
    topics = {
        "SUCCESS_NOTIFICATION_TOPIC": "SuccessTopic",
        "ERROR_NOTIFICATION_TOPIC": "ErrorTopic",
    }
    for name in included:
        if name in topics and topics[name] not in config:
            yield Problem(f"{path}.{topics[name]}", f"a topic, as {name} is included", "none")
    for name in twice(list(included)):
        yield Problem(f"{path}.IncludeInferenceResponseIn", "each once", f"{name} twice")


@rule("capture-options", _CONFIG)
def capture_options(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `CaptureOption`: Input and Output, each at most once."""
    options = parameters.get("DataCaptureConfig", {}).get("CaptureOptions", ())
    for name in twice([option["CaptureMode"] for option in options]):
        yield Problem("DataCaptureConfig.CaptureOptions", "each CaptureMode once", f"{name} twice")
    if parameters.get("DataCaptureConfig", {}).get("InitialSamplingPercentage", 1) < 1:
        path = "DataCaptureConfig.InitialSamplingPercentage"
        yield Problem(path, "at least 1, or no data capture", "0")


@rule("deployment", "CreateEndpoint", "UpdateEndpoint")
def deployment(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `DeploymentConfig`: blue/green or rolling."""
    config = parameters.get("DeploymentConfig", {})
    if "BlueGreenUpdatePolicy" in config and "RollingUpdatePolicy" in config:
        yield Problem("DeploymentConfig", "one update policy", "two")
