"""Deploy a bundle at SageMaker: everything is made, or nothing is left."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.dataset.footage import silent
from motrail.errors import ConfigError
from motrail.sagemaker.deployment import config_request, pack, scaling_requests
from motrail.sagemaker.redact import redact
from motrail.sagemaker.removal import (
    LOOK_SECONDS,
    STEADY,
    DeployError,
    describe,
    remove_endpoint,
    remove_object,
    remove_old,
    settled,
)
from motrail.sagemaker.requests import endpoint as requests
from motrail.sagemaker.requests import scaling
from motrail.sagemaker.takeback import TakeBack, remove
from motrail.sagemaker.transfer import Meter
from motrail.sagemaker.watch import JobLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from motrail.config import SageMakerSettings
    from motrail.dataset.footage import Progress
    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.deployment import Deployment
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud, Request

    Say = Callable[[str], None]

LOGS = "/aws/sagemaker/Endpoints/"
"""Begin of the log group of an endpoint; its streams begin with the variant."""


_EARLY = 4
"""So many looks an endpoint may still seem to be what it was before it is updated."""


@dataclass(frozen=True)
class Names:
    """What the parts of a deployment are called.

    Attributes:
        config: The endpoint configuration.
        models: The models, in the order of the shares.
        data: Where each of them lies.
    """

    config: str
    models: list[str]
    data: list[str]

    @classmethod
    def of(cls, project: Project, deployment: Deployment) -> Names:
        """New ones; what new instances of a living endpoint fetch must stay as it is."""
        config = project.unique(deployment.name)
        models = [config]
        if len(deployment.shares) > 1:
            models = [project.unique(f"{deployment.name}-{n}")
                      for n in range(1, len(deployment.shares) + 1)]  # fmt: skip
        return cls(config, models, [project.uri("models", m, "model.tar.gz") for m in models])


def dry_run(
    project: Project, settings: SageMakerSettings, deployment: Deployment, *, update: bool
) -> list[Request]:
    """All requests that `deploy` would send, without sending any."""
    names = Names.of(project, deployment)
    found = _model_requests(project, settings, deployment, names)
    found.append(config_request(project, settings, deployment, names.config, names.models))
    found.append(_endpoint_request(project, deployment, names.config, update=update))
    for variant in deployment.variants(names.models):
        made = scaling_requests(project, deployment, variant.name)
        found += made
        if len(made) > 2:
            policy = scaling.policy_name(deployment.name, variant.name, "wake")
            arn = f"arn:aws:autoscaling:{project.region}:000000000000:scalingPolicy:{policy}"
            found.append(scaling.backlog_alarm(project, deployment.name, variant.name, arn))
    return found


def _model_requests(
    project: Project, settings: SageMakerSettings, deployment: Deployment, names: Names
) -> list[Request]:
    return [
        requests.create_model(
            project, settings, model, data, deployment.container(), {"endpoint": deployment.name}
        )
        for model, data in zip(names.models, names.data, strict=True)
    ]


def _endpoint_request(
    project: Project, deployment: Deployment, config: str, *, update: bool
) -> Request:
    if update:
        return requests.update_endpoint(deployment.name, config)
    return requests.create_endpoint(
        project, deployment.name, config, {"endpoint": deployment.name, "kind": deployment.kind}
    )


def deploy(
    cloud: Cloud,
    project: Project,
    settings: SageMakerSettings,
    deployment: Deployment,
    say: Say,
    *,
    update: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Make an endpoint, or put another model behind one, and wait until it answers.

    When something fails, or on Ctrl-C, all that was made is removed again, last first; an endpoint
    that was to be updated goes on as it was.

    Args:
        cloud: Where.
        project: Names of the stack.
        settings: Instance type and the like.
        deployment: What.
        say: Told of each step and of the container's log.
        update: Whether there is one already.
        progress: Told of bytes that go over.

    Returns:
        What `DescribeEndpoint` says of it.

    Raises:
        ConfigError: There is an endpoint of this name, or there is none to update.
        DeployError: It did not come to life; the container's last lines were told.
        CloudError: AWS refused.
    """
    before = describe(cloud, deployment.name)
    _check_before(before, deployment, update=update)
    names = Names.of(project, deployment)
    # All that can be wrong with the requests is told before anything is uploaded.
    models = _model_requests(project, settings, deployment, names)
    config = config_request(project, settings, deployment, names.config, names.models)
    with TakeBack(say) as back:
        for share, data, request in zip(deployment.shares, names.data, models, strict=True):
            _send_model(cloud, share.bundle, data, request, _Talk(say, progress), back)
        back.note(names.config, lambda: remove(cloud, requests.delete_config(names.config)))
        cloud.call(config)
        name = deployment.name
        if before is None:
            back.note(name, lambda: _remove_ours(cloud, name, names.config, say))
        else:
            _pause_scaling(cloud, project, before, back)
            old = before["EndpointConfigName"]
            back.note(name, lambda: _put_back(cloud, name, names.config, old, say))
        say(f"endpoint {name}: {'updated' if update else 'made'}, which takes some minutes")
        cloud.call(_endpoint_request(project, deployment, names.config, update=update))
        variants = [variant.name for variant in deployment.variants(names.models)]
        answer = _wait(cloud, name, names.config, variants, say)
        for variant in variants:
            _scale(cloud, project, deployment, variant, back)
    if before is not None:
        remove_old(cloud, project, before["EndpointConfigName"], say)
    return answer


def _check_before(
    before: Mapping[str, Any] | None, deployment: Deployment, *, update: bool
) -> None:
    name = deployment.name
    if before is None:
        if update:
            raise ConfigError(f"--update: there is no endpoint {name!r} to update")
        return
    if not update:
        raise ConfigError(
            f"there is an endpoint {name!r} already: give --update to put this model behind it, or "
            f"run: motrail sagemaker deploy delete {name}"
        )
    if before["EndpointStatus"] != "InService":
        raise ConfigError(
            f"endpoint {name!r}: expected it to be InService for --update, found "
            f"{before['EndpointStatus']}"
        )
    if kind_of(before) != deployment.kind:
        raise ConfigError(
            f"endpoint {name!r} is {kind_of(before)} and cannot become {deployment.kind}; choose "
            "another name"
        )


def kind_of(endpoint: Mapping[str, Any]) -> str:
    """`realtime`, `serverless` or `async`, from what `DescribeEndpoint` says."""
    if endpoint.get("AsyncInferenceConfig"):
        return "async"
    variants = endpoint.get("ProductionVariants") or [{}]
    return "serverless" if variants[0].get("CurrentServerlessConfig") else "realtime"


class _Talk(NamedTuple):
    """Who is told of lines, and of bytes."""

    say: Say
    progress: Progress


def _send_model(
    cloud: Cloud, bundle: Bundle, data: str, request: Request, talk: _Talk, back: TakeBack
) -> None:
    with tempfile.TemporaryDirectory(prefix="motrail-") as folder:
        packed = Path(folder) / "model.tar.gz"
        pack(bundle, packed)
        size = packed.stat().st_size
        talk.say(f"{bundle.path}: {size / 1e6:.1f} MB to {data}")
        back.note(data, partial(remove_object, cloud, data))
        cloud.upload(packed, data, tell=Meter(talk.progress, "uploading", size))
    model = request.parameters["ModelName"]
    back.note(model, partial(remove, cloud, requests.delete_model(model)))
    cloud.call(request)


def _wait(cloud: Cloud, name: str, config: str, variants: list[str], say: Say) -> dict[str, Any]:
    """Until it answers; says how it changes and what its containers write."""
    logs = [JobLog(cloud, f"{LOGS}{name}", f"{variant}/") for variant in variants]
    told, early = "", _EARLY
    while True:
        answer = cloud.call(requests.describe_endpoint(name))
        status = str(answer["EndpointStatus"])
        if status == "InService" and answer["EndpointConfigName"] != config and early:
            early -= 1  # it may not have heard yet that it is to be updated
        else:
            early = 0
            if status != told:
                say(f"endpoint {name}: {status}")
                told = status
            if status in STEADY:
                break
        cloud.sleep(LOOK_SECONDS)
    if status == "InService" and answer["EndpointConfigName"] == config:
        return answer
    for log in logs:
        for line in log.new_lines():
            say(f"  {line}")
    reason = redact(answer.get("FailureReason") or "").strip() or "no reason was given"
    raise DeployError(f"endpoint {name} did not come to life ({status}): {reason}")


def _scale(
    cloud: Cloud, project: Project, deployment: Deployment, variant: str, back: TakeBack
) -> None:
    name = deployment.name
    found = scaling_requests(project, deployment, variant)
    if not found:
        return
    back.note(
        f"scaling of {name}/{variant}",
        lambda: remove(cloud, scaling.deregister(name, variant)),
    )
    answer: dict[str, Any] = {}
    for request in found:
        answer = cloud.call(request)
    if len(found) > 2:
        alarm = scaling.alarm_name(name, variant)
        back.note(alarm, lambda: remove(cloud, scaling.delete_alarm(name, variant)))
        cloud.call(scaling.backlog_alarm(project, name, variant, answer["PolicyARN"]))


def _remove_ours(cloud: Cloud, name: str, config: str, say: Say) -> None:
    """Remove an endpoint if it is the one that was made with this configuration."""
    answer = describe(cloud, name)
    if answer is None or answer.get("EndpointConfigName") != config:
        return
    remove_endpoint(cloud, name, say)


def _put_back(cloud: Cloud, name: str, config: str, old: str, say: Say) -> None:
    """Have an endpoint that was updated go on with its old configuration."""
    answer = settled(cloud, name, say)
    if answer is None or answer["EndpointConfigName"] != config:
        return
    cloud.call(requests.update_endpoint(name, old))
    say(f"endpoint {name}: back to what it was")
    settled(cloud, name, say)


def _pause_scaling(
    cloud: Cloud, project: Project, endpoint: Mapping[str, Any], back: TakeBack
) -> None:
    """Forget how an endpoint scales: what is scaled cannot get another instance type."""
    name = endpoint["EndpointName"]
    variants = [item["VariantName"] for item in endpoint.get("ProductionVariants", ())]
    found = cloud.call(scaling.describe_targets(name, variants)).get("ScalableTargets", ())
    for target in found:
        variant = target["ResourceId"].rpartition("/")[2]
        policies = cloud.call(scaling.describe_policies(name, variant)).get("ScalingPolicies", ())
        restore = scaling.as_requests(project, target, policies, kind_of(endpoint))
        back.note(
            f"scaling of {name}/{variant}",
            partial(_restore, cloud, project, name, variant, restore),
        )
        remove(cloud, scaling.deregister(name, variant))
        remove(cloud, scaling.delete_alarm(name, variant))


def _restore(cloud: Cloud, project: Project, name: str, variant: str, found: list[Request]) -> None:
    for request in found:
        answer = cloud.call(request)
        if request.parameters.get("PolicyType") == "StepScaling":
            cloud.call(scaling.backlog_alarm(project, name, variant, answer["PolicyARN"]))
