"""`motrail sagemaker deploy`, and `invoke` where the group looks for it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from motrail.cli.sagemaker.cloud import (
    Config,
    HostingFlags,
    Rehearse,
    SageMakerFlags,
    ServerlessFlags,
    Yes,
    confirm,
    open_cloud,
    sagemaker_settings,
)
from motrail.cli.sagemaker.deploying import (  # noqa: TC001  (cyclopts reads the annotations)
    Bundled,
    Common,
    Cuda,
)
from motrail.cli.sagemaker.invoke import invoke_command as invoke_command  # noqa: PLC0414
from motrail.cli.sagemaker.jobs import say

deploy_app = App(
    name="deploy",
    help="Put a model bundle behind an endpoint at Amazon SageMaker: realtime answers frame by "
    "frame, in sessions too; serverless costs nothing while nobody asks; async takes whole videos.",
)


@deploy_app.command(name="realtime")
def realtime_command(
    bundle: Bundled,
    *,
    common: Common,
    min_instances: int = 1,
    max_instances: int | None = None,
    target: float = 600.0,
    variant: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    capture_percent: int = 0,
    cuda: Cuda = None,
    sagemaker: HostingFlags = None,
) -> int:
    """An endpoint that answers at once: frames, sessions, short videos; up to 25 MB and 60 s.

    It costs what its instances cost from now on until it is removed. When something fails, or on
    Ctrl-C, nothing of it is left.

    For example:

    - `motrail sagemaker deploy realtime model.tar.gz --name parcels`
    - `motrail sagemaker deploy realtime model.tar.gz -n parcels --max-instances 4 --target 900`
    - `motrail sagemaker deploy realtime old.tar.gz -n parcels --variant new.tar.gz=0.25 --update`
    - `motrail sagemaker deploy realtime model.tar.gz -n parcels --rehearse rehearsal`

    Parameters
    ----------
    min_instances
        Instances at least.
    max_instances
        Instances at most; more than --min-instances lets their number follow the load.
    target
        Requests a minute that each instance is to get.
    variant
        A further model and its share of the traffic, as in new.tar.gz=0.25, where the first
        has 1; may be given several times. A session stays with its model.
    capture_percent
        Of the requests that are kept in S3, with their answers.
    """
    from motrail.sagemaker.deployment import Scaling

    most = max(min_instances, 1) if max_instances is None else max_instances
    return common.deploy(
        sagemaker,
        "realtime",
        (f"{bundle}=1", *variant),
        scaling=Scaling(min_instances, most, target),
        capture_percent=capture_percent,
        cuda=cuda,
    )


@deploy_app.command(name="serverless")
def serverless_command(
    bundle: Bundled,
    *,
    common: Common,
    memory: int = 4096,
    concurrency: int = 5,
    sagemaker: ServerlessFlags = None,
) -> int:
    """An endpoint without instances: frames of up to 4 MB, on CPUs, paid by the request.

    It keeps no sessions: what tracks with it does that at its own side, as motrail remote track
    --endpoint NAME --track client.

    For example:

    - `motrail sagemaker deploy serverless model.tar.gz --name parcels`
    - `motrail sagemaker deploy serverless model.tar.gz -n parcels --memory 6144`

    Parameters
    ----------
    memory
        In MiB, 1024 to 6144 in steps of 1024; CPUs come with it.
    concurrency
        Requests at a time, 1 to 200.
    """
    return common.deploy(
        sagemaker, "serverless", (f"{bundle}=1",), memory_mib=memory, concurrency=concurrency
    )


@deploy_app.command(name="async")
def async_command(
    bundle: Bundled,
    *,
    common: Common,
    min_instances: int = 0,
    max_instances: int = 1,
    target: float = 2.0,
    concurrency: int = 1,
    timeout: int = 3600,
    cuda: Cuda = None,
    sagemaker: HostingFlags = None,
) -> int:
    """An endpoint that takes videos of up to 1 GB through S3, for up to an hour each.

    From zero instances to as many as wanted: while nothing waits, nothing is paid for, and the
    first video waits some minutes for its instance. SNS topics of the stack are told of each end.

    For example:

    - `motrail sagemaker deploy async model.tar.gz --name night`
    - `motrail sagemaker deploy async model.tar.gz -n night --max-instances 8 --concurrency 2`

    Parameters
    ----------
    min_instances
        Instances at least; 0 for none while nothing waits.
    max_instances
        Instances at most.
    target
        Videos that may wait for each instance before there are more of them.
    concurrency
        Videos at a time on each instance.
    timeout
        Seconds that a video may take.
    """
    from motrail.sagemaker.deployment import Scaling

    return common.deploy(
        sagemaker,
        "async",
        (f"{bundle}=1",),
        scaling=Scaling(min_instances, max_instances, target),
        concurrency=concurrency,
        seconds=timeout,
        cuda=cuda,
    )


@deploy_app.command(name="delete")
def delete_command(
    name: str,
    *,
    yes: Yes = False,
    rehearse: Rehearse = None,
    config: Config = None,
    sagemaker: SageMakerFlags = None,
) -> int:
    """Remove an endpoint with its configuration, models, scaling and alarms.

    What it wrote to S3 stays until motrail sagemaker cleanup.

    Parameters
    ----------
    name
        Of the endpoint.
    yes
        Do not ask.
    config
        TOML file with a section [sagemaker]; flags win over it.
    """
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.removal import delete

    settings = sagemaker_settings(sagemaker, config)
    if not confirm(f"remove the endpoint {name}", yes=yes):
        return 1
    with open_cloud(settings, rehearse) as cloud:
        delete(cloud, find_project(cloud, settings), name, say)
    return 0
