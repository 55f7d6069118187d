"""What the ways to deploy share: models and settings from words, and what is told at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.cli.output import print_json, print_rows
from motrail.cli.progress import download_progress
from motrail.cli.sagemaker.cloud import open_cloud
from motrail.cli.sagemaker.jobs import say
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from motrail.config import SageMakerSettings
    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.deployment import Deployment, Scaling, Share


def find_model(name: str) -> Bundle:
    """A bundle by path or by name of the zoo, which is fetched if need be."""
    from motrail.detect.detector import find_bundle

    with download_progress(name) as progress:
        return find_bundle(name, progress=progress)[0]


def read_share(word: str) -> Share:
    """A model and its share of the traffic, from `new.tar.gz=0.25`.

    Raises:
        ConfigError: It is something else.
        ModelError: There is no such model.
    """
    from motrail.sagemaker.deployment import Share

    path, _, text = word.rpartition("=")
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not path or not 0 <= weight < float("inf"):
        raise ConfigError(
            f"--variant: expected BUNDLE=WEIGHT as in new.tar.gz=0.25, found {word!r}"
        )
    return Share(find_model(path), weight)


def read_environment(words: Sequence[str]) -> dict[str, str]:
    """Variables from `NAME=VALUE`.

    Raises:
        ConfigError: One is something else.
    """
    pairs = [word.partition("=") for word in words]
    for (key, equals, _), word in zip(pairs, words, strict=True):
        if not (key and equals):
            raise ConfigError(f"--env: expected NAME=VALUE, found {word!r}")
    return {key: value for key, _, value in pairs}


def deploy(
    deployment: Deployment,
    settings: SageMakerSettings,
    rehearse: Path | None,
    *,
    dry_run: bool,
    update: bool,
    as_json: bool,
) -> int:
    """Do it, or print the requests; the exit code."""
    from motrail.sagemaker import endpoint
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.quotas import check_quota
    from motrail.sagemaker.rules import check

    with open_cloud(settings, rehearse) as cloud:
        project = find_project(cloud, settings)
        if dry_run:
            found = endpoint.dry_run(project, settings, deployment, update=update)
            for request in found:
                check(request)
            print_json([request._asdict() for request in found])
            return 0
        if deployment.kind != "serverless":
            check_quota(cloud, settings.serving_instance, "endpoint", _most(deployment.scaling))
        answer = endpoint.deploy(cloud, project, settings, deployment, say, update=update)
    _tell(deployment, settings, answer, rehearse, as_json=as_json)
    return 0


def _most(scaling: Scaling) -> int:
    return max(scaling.high, 1)


def _tell(
    deployment: Deployment,
    settings: SageMakerSettings,
    answer: dict[str, Any],
    rehearse: Path | None,
    *,
    as_json: bool,
) -> None:
    name = deployment.name
    more = f" --rehearse {rehearse}" if rehearse is not None else ""
    call = {
        "realtime": f"motrail remote track VIDEO --endpoint {name}{more}",
        "serverless": f"motrail remote track VIDEO --endpoint {name} --track client{more}",
        "async": f"motrail sagemaker invoke {name} VIDEO{more}",
    }[deployment.kind]
    removal = f"motrail sagemaker deploy delete {name}{more}"
    if as_json:
        document = {
            "endpoint": name,
            "kind": deployment.kind,
            "config": answer["EndpointConfigName"],
            "status": answer["EndpointStatus"],
            "call": call,
            "remove": removal,
        }
        print_json(document)
        return
    rows = [("endpoint", name), ("call it", call), ("remove it", removal)]
    if deployment.kind == "serverless":
        rows.append(("costs", "by the request; see motrail sagemaker status"))
    else:
        low = deployment.scaling.low
        some = (
            f"{low} to {_most(deployment.scaling)}" if deployment.scaling.active else f"{low or 1}"
        )
        costs = f"{some} × {settings.serving_instance} an hour; see motrail sagemaker status"
        rows.append(("costs", costs))
    print_rows(rows)
