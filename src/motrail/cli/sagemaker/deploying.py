"""What the ways to deploy share: flags, models and settings from words, and what is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from motrail.cli.output import AsJson, print_json, print_rows
from motrail.cli.progress import download_progress
from motrail.cli.sagemaker.cloud import Config, Rehearse, open_cloud, sagemaker_settings
from motrail.cli.sagemaker.jobs import Talk
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from motrail.config import SageMakerSettings
    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.deployment import Deployment, Kind, Scaling, Share

_GROUP = Group("Every endpoint", sort_key=1)
Bundled = Annotated[str, Parameter(help="A model bundle, or a name such as yolox-s.")]
Cuda = Annotated[
    str | None,
    Parameter(help="CUDA of the serving image, as in 12.4, where it is not that of motrail's own."),
]


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True, kw_only=True)
class Common:
    """What every way to deploy takes.

    Attributes:
        name: Of the endpoint.
        env: Settings of the container.
        update: Whether there is such an endpoint.
        dry_run: Whether the requests are printed, and none is sent.
        config: The TOML file of `--config`.
        as_json: Whether the result is printed as JSON.
        rehearse: The folder of `--rehearse`.
    """

    name: Annotated[str, Parameter(name=("--name", "-n"), help="Of the endpoint.")]
    env: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="Settings of the container, as in MOTRAIL_SERVE_QUEUE=16; may be given several "
            "times.",
        ),
    ] = ()
    update: Annotated[
        bool,
        Parameter(
            negative="",
            help="Put this model behind an endpoint that is there; the old one answers until then.",
        ),
    ] = False
    dry_run: Annotated[
        bool, Parameter(negative="", help="Print the requests as JSON and send none.")
    ] = False
    config: Annotated[
        Config, Parameter(help="TOML file with a section [sagemaker]; flags win over it.")
    ] = None
    as_json: Annotated[AsJson, Parameter(help="Print the result as one JSON document.")] = False
    rehearse: Rehearse = None

    def deploy(self, sagemaker: Any, kind: Kind, shares: Sequence[str], **more: Any) -> int:
        """Make what is wanted, or print the requests; the exit code.

        Args:
            sagemaker: Flags of `[sagemaker]`.
            kind: Of the endpoint.
            shares: The models, as in `new.tar.gz=0.25`.
            more: Whatever else a `Deployment` of this kind takes.

        Raises:
            ConfigError: Something cannot be had.
            MotrailError: It did not come to life, or AWS refused.
        """
        from motrail.sagemaker.deployment import Deployment

        settings = sagemaker_settings(sagemaker, self.config)
        deployment = Deployment(
            self.name,
            kind,
            tuple(map(read_share, shares)),
            environment=read_environment(self.env),
            **more,
        )
        return _deploy(deployment, settings, self)


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


def _deploy(deployment: Deployment, settings: SageMakerSettings, common: Common) -> int:
    from motrail.sagemaker import endpoint
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.quotas import check_quota
    from motrail.sagemaker.rules import check

    with open_cloud(settings, common.rehearse) as cloud, Talk() as talk:
        project = find_project(cloud, settings)
        update = common.update
        if common.dry_run:
            found = endpoint.dry_run(project, settings, deployment, update=update)
            for request in found:
                check(request)
            print_json([request._asdict() for request in found])
            return 0
        if deployment.kind != "serverless":
            check_quota(cloud, settings.serving_instance, "endpoint", _most(deployment.scaling))
        answer = endpoint.deploy(
            cloud, project, settings, deployment, talk.say, update=update, progress=talk.progress
        )
    _tell(deployment, settings, answer, common.rehearse, as_json=common.as_json)
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
