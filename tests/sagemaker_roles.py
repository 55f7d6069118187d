"""What SageMaker does in the role that a request names: to data, images, logs, topics, networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.sagemaker.request import split_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Request

ACCOUNT = "123456789012"


class Access(NamedTuple):
    """One action on one resource."""

    action: str
    resource: str
    context: Mapping[str, Any] = {}


def implied(request: Request, project: Project) -> Iterator[tuple[str, Access]]:
    """What is done in a role because of a request (SageMaker's guide, "Execution roles")."""
    given = request.parameters
    match request.operation:
        case "CreateTrainingJob":
            yield from _training(given, project)
        case "CreateHyperParameterTuningJob":
            for definition in _definitions(given):
                yield from _training(definition, project)
        case "CreateModel":
            for container in [given.get("PrimaryContainer"), *given.get("Containers", ())]:
                if container:
                    yield from _model(container, project)
        case "CreateEndpointConfig":
            yield from _endpoint_config(given)
        case "CreateEndpoint" | "UpdateEndpoint":
            yield from _log("serving", project, f"Endpoints/{given['EndpointName']}")
        case "InvokeEndpointAsync":
            yield from _read("serving", given["InputLocation"])
        case "CreateProcessingJob":
            yield from _processing(given, project)
        case "CreateLabelingJob":
            yield from _labeling(given, project)


def _definitions(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    one = given.get("TrainingJobDefinition")
    return [*([one] if one else []), *given.get("TrainingJobDefinitions", ())]


def _training(given: Mapping[str, Any], project: Project) -> Iterator[tuple[str, Access]]:
    role = "training"
    for channel in given.get("InputDataConfig", ()):
        yield from _read(role, channel["DataSource"]["S3DataSource"]["S3Uri"])
    output = given["OutputDataConfig"]
    yield from _write(role, output["S3OutputPath"])
    if checkpoints := given.get("CheckpointConfig"):
        yield from _read(role, checkpoints["S3Uri"])
        yield from _write(role, checkpoints["S3Uri"])
        yield role, Access("s3:DeleteObject", _object(checkpoints["S3Uri"]))
    yield from _pull(role, given["AlgorithmSpecification"]["TrainingImage"], project)
    yield from _log(role, project, "TrainingJobs")
    keys = (output.get("KmsKeyId"), given.get("ResourceConfig", {}).get("VolumeKmsKeyId"))
    yield from _keys(role, keys)
    yield from _network(role, given.get("VpcConfig"), project)


def _model(container: Mapping[str, Any], project: Project) -> Iterator[tuple[str, Access]]:
    data = container.get("ModelDataUrl")
    data = data or container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
    if data:
        yield from _read("serving", data)
    yield from _pull("serving", container["Image"], project)


def _endpoint_config(given: Mapping[str, Any]) -> Iterator[tuple[str, Access]]:
    if capture := given.get("DataCaptureConfig"):
        yield from _write("serving", capture["DestinationS3Uri"])
    output = given.get("AsyncInferenceConfig", {}).get("OutputConfig", {})
    for key in ("S3OutputPath", "S3FailurePath"):
        if key in output:
            yield from _write("serving", output[key])
    notified = output.get("NotificationConfig", {})
    for key in ("SuccessTopic", "ErrorTopic"):
        if key in notified:
            yield "serving", Access("sns:Publish", notified[key])


def _processing(given: Mapping[str, Any], project: Project) -> Iterator[tuple[str, Access]]:
    role = "processing"
    for each in given.get("ProcessingInputs", ()):
        yield from _read(role, each["S3Input"]["S3Uri"])
    outputs = given.get("ProcessingOutputConfig", {})
    for each in outputs.get("Outputs", ()):
        yield from _write(role, each["S3Output"]["S3Uri"])
    yield from _pull(role, given["AppSpecification"]["ImageUri"], project)
    yield from _log(role, project, "ProcessingJobs")
    cluster = given["ProcessingResources"]["ClusterConfig"]
    yield from _keys(role, (outputs.get("KmsKeyId"), cluster.get("VolumeKmsKeyId")))
    yield from _network(role, given.get("NetworkConfig", {}).get("VpcConfig"), project)


def _labeling(given: Mapping[str, Any], project: Project) -> Iterator[tuple[str, Access]]:
    role = "labeling"
    yield from _read(role, given["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"])
    yield from _read(role, given["LabelCategoryConfigS3Uri"])
    yield from _write(role, given["OutputConfig"]["S3OutputPath"])
    yield from _log(role, project, "LabelingJobs")


def _object(uri: str) -> str:
    bucket, key = split_uri(uri)
    return f"arn:aws:s3:::{bucket}/{key}" if "." in key[-8:] else f"arn:aws:s3:::{bucket}/{key}/x"


def _read(role: str, uri: str) -> Iterator[tuple[str, Access]]:
    yield role, Access("s3:ListBucket", f"arn:aws:s3:::{split_uri(uri)[0]}")
    yield role, Access("s3:GetObject", _object(uri))


def _write(role: str, uri: str) -> Iterator[tuple[str, Access]]:
    yield role, Access("s3:PutObject", _object(uri))
    yield role, Access("s3:AbortMultipartUpload", _object(uri))


def _pull(role: str, image: str, project: Project) -> Iterator[tuple[str, Access]]:
    name = image.partition("/")[2].partition(":")[0]
    arn = f"arn:aws:ecr:{project.region}:{ACCOUNT}:repository/{name}"
    yield role, Access("ecr:GetAuthorizationToken", "*")
    for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
        yield role, Access(f"ecr:{action}", arn)


def _log(role: str, project: Project, group: str) -> Iterator[tuple[str, Access]]:
    arn = f"arn:aws:logs:{project.region}:{ACCOUNT}:log-group:/aws/sagemaker/{group}"
    yield role, Access("logs:CreateLogGroup", f"{arn}:log-stream:")
    for action in ("CreateLogStream", "DescribeLogStreams", "PutLogEvents"):
        yield role, Access(f"logs:{action}", f"{arn}:log-stream:algo-1")
    namespace = f"/aws/sagemaker/{group.partition('/')[0]}"
    yield role, Access("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": namespace})


def _keys(role: str, keys: Iterable[str | None]) -> Iterator[tuple[str, Access]]:
    for key in filter(None, keys):
        for action in ("Decrypt", "Encrypt", "GenerateDataKey"):
            yield role, Access(f"kms:{action}", key)
        yield role, Access("kms:CreateGrant", key, {"kms:GrantIsForAWSResource": "true"})


def _network(
    role: str, vpc: Mapping[str, Any] | None, project: Project
) -> Iterator[tuple[str, Access]]:
    if not vpc:
        return
    where = f"arn:aws:ec2:{project.region}:{ACCOUNT}"
    yield role, Access("ec2:DescribeSubnets", "*")
    yield role, Access("ec2:CreateNetworkInterface", f"{where}:network-interface/eni-1")
    yield role, Access("ec2:CreateNetworkInterfacePermission", f"{where}:network-interface/eni-1")
    for subnet in vpc["Subnets"]:
        context = {"ec2:SubnetID": subnet}
        yield role, Access("ec2:CreateNetworkInterface", f"{where}:subnet/{subnet}", context)
    for group in vpc["SecurityGroupIds"]:
        context = {"ec2:SecurityGroupID": group}
        arn = f"{where}:security-group/{group}"
        yield role, Access("ec2:CreateNetworkInterface", arn, context)
