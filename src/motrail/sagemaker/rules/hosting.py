"""Rules about models, which endpoints serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODEL = "CreateModel"
_MAX_ENVIRONMENT = 32 * 1024


def _containers(parameters: Parameters) -> Iterator[tuple[str, dict[str, Any]]]:
    if "PrimaryContainer" in parameters:
        yield "PrimaryContainer", parameters["PrimaryContainer"]
    for index, one in enumerate(parameters.get("Containers", ())):
        yield f"Containers[{index}]", one


@rule("model-container", _MODEL)
def model_container(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `CreateModel`: a primary container or several, with images."""
    given = [name for name in ("PrimaryContainer", "Containers") if parameters.get(name)]
    if len(given) != 1:
        found = " and ".join(given) or "neither"
        yield Problem("PrimaryContainer", "either PrimaryContainer or Containers", found)
    for path, container in _containers(parameters):
        if ("Image" in container) == ("ModelPackageName" in container):
            found = "both" if "Image" in container else "neither"
            yield Problem(path, "either Image or ModelPackageName", found)


@rule("model-role", _MODEL)
def model_role(parameters: Parameters) -> Iterator[Problem]:
    """Our own rule: a model whose data lie in S3 names the role that may read them."""
    if "ExecutionRoleArn" not in parameters:
        yield Problem("ExecutionRoleArn", "a role", "none")


@rule("model-data", _MODEL)
def model_data(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ContainerDefinition.ModelDataUrl`: one .tar.gz, from one place."""
    for path, container in _containers(parameters):
        url = container.get("ModelDataUrl")
        if url is not None and not url.endswith(".tar.gz"):
            yield Problem(f"{path}.ModelDataUrl", "an object that ends in .tar.gz", shown(url))
        if url is not None and "ModelDataSource" in container:
            yield Problem(path, "either ModelDataUrl or ModelDataSource", "both")


@rule("environment-size", _MODEL)
def environment_size(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ContainerDefinition.Environment`: 32 KB in all."""
    variables = [
        (path, key, value)
        for path, container in _containers(parameters)
        for key, value in container.get("Environment", {}).items()
    ]
    size = sum(len(key.encode()) + len(value.encode()) for _, key, value in variables)
    if size > _MAX_ENVIRONMENT:
        path = f"{variables[0][0]}.Environment"
        yield Problem(path, f"at most {_MAX_ENVIRONMENT:,} bytes in all", f"{size:,}")
