"""Remove an endpoint at SageMaker with all that belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError, MotrailError
from motrail.sagemaker.project import PROJECT_TAG
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.requests import endpoint as requests
from motrail.sagemaker.requests import scaling
from motrail.sagemaker.takeback import is_missing, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud

    Say = Callable[[str], None]

STEADY = frozenset({"InService", "Failed", "OutOfService", "UpdateRollbackFailed"})
"""States of an endpoint that is neither being made nor changed nor deleted."""
LOOK_SECONDS = 15.0
_PATIENCE = 240  # looks until something that is under way is given up


class DeployError(MotrailError):
    """An endpoint did not come to life, or did not go."""


def delete(cloud: Cloud, project: Project, name: str, say: Say) -> None:
    """Remove an endpoint with all that belongs to it; results in S3 stay.

    Raises:
        ConfigError: There is none, or it is not of this project.
        CloudError: AWS refused.
    """
    answer = describe(cloud, name)
    if answer is None:
        raise ConfigError(f"there is no endpoint {name!r}")
    tags = cloud.call(requests.list_tags(answer["EndpointArn"])).get("Tags", ())
    if {"Key": PROJECT_TAG, "Value": project.name} not in list(tags):
        raise ConfigError(
            f"endpoint {name!r} was not made by the project {project.name!r}; it stays"
        )
    for variant in answer.get("ProductionVariants", ()):
        remove(cloud, scaling.deregister(name, variant["VariantName"]))
        remove(cloud, scaling.delete_alarm(name, variant["VariantName"]))
    remove_endpoint(cloud, name, say)
    say(f"endpoint {name} removed")
    remove_old(cloud, project, answer["EndpointConfigName"], say)


def remove_old(cloud: Cloud, project: Project, config: str, say: Say) -> None:
    """Remove a configuration that nothing uses any more, its models and their data."""
    try:
        answer = cloud.call(requests.describe_config(config))
    except CloudError as error:
        if is_missing(error):
            return
        raise
    remove(cloud, requests.delete_config(config))
    say(f"configuration {config} removed")
    for variant in answer["ProductionVariants"]:
        model = variant["ModelName"]
        data = _data_of(cloud, model)
        if remove(cloud, requests.delete_model(model)):
            say(f"model {model} removed")
        if data is not None and data.startswith(project.uri("models", model) + "/"):
            remove_object(cloud, data)


def _data_of(cloud: Cloud, model: str) -> str | None:
    try:
        container = cloud.call(requests.describe_model(model))["PrimaryContainer"]
    except CloudError as error:
        if is_missing(error):
            return None
        raise
    data: str | None = container.get("ModelDataUrl")
    return data


def describe(cloud: Cloud, name: str) -> dict[str, Any] | None:
    """What SageMaker says of an endpoint; None where there is none."""
    try:
        return cloud.call(requests.describe_endpoint(name))
    except CloudError as error:
        if is_missing(error):
            return None
        raise


def settled(cloud: Cloud, name: str, say: Say) -> dict[str, Any] | None:
    """The endpoint when nothing is under way any more; None where it is gone.

    Raises:
        DeployError: It takes too long.
    """
    told = False
    for _ in range(_PATIENCE):
        answer = describe(cloud, name)
        if answer is None or answer["EndpointStatus"] in STEADY:
            return answer
        if not told:
            say(f"endpoint {name} is {answer['EndpointStatus']}; waiting until it can be changed")
            told = True
        cloud.sleep(LOOK_SECONDS)
    raise DeployError(f"endpoint {name} is still {answer and answer['EndpointStatus']}")


def remove_endpoint(cloud: Cloud, name: str, say: Say) -> None:
    """Remove an endpoint, and wait until it is gone.

    Raises:
        DeployError: It does not go.
        CloudError: AWS refused.
    """
    try:
        remove(cloud, requests.delete_endpoint(name))
    except CloudError as error:
        if error.code != "ValidationException":
            raise
        # It is being made or changed, and cannot be removed before that is over.
        if settled(cloud, name, say) is None:
            return
        remove(cloud, requests.delete_endpoint(name))
    for _ in range(_PATIENCE):
        if describe(cloud, name) is None:
            return
        cloud.sleep(LOOK_SECONDS)
    raise DeployError(f"endpoint {name} is still being deleted")


def remove_object(cloud: Cloud, uri: str) -> None:
    """Remove an object of a bucket."""
    remove(cloud, requests.delete_object(*split_uri(uri)))


def all_or_error(answer: Mapping[str, object]) -> None:
    """See that S3 deleted all of a batch; it answers so also when it deleted none.

    Raises:
        CloudError: It did not; the message names the first that is left.
    """
    errors = answer.get("Errors")
    if isinstance(errors, list) and errors:
        first = errors[0]
        raise CloudError(
            f"{len(errors)} objects could not be deleted, the first of them {first.get('Key')}: "
            f"{first.get('Message')}",
            code=str(first.get("Code", "Unknown")),
        )
