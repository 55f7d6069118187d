"""`motrail sagemaker setup`."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_rows, table
from motrail.cli.sagemaker.cloud import (
    Config,
    Rehearse,
    SetupFlags,
    Yes,
    confirm,
    open_cloud,
    sagemaker_settings,
)

if TYPE_CHECKING:
    from motrail.config import SageMakerSettings
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud
    from motrail.sagemaker.setup import Event, Plan


def setup_command(
    *,
    input_bucket: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    forget: Annotated[bool, Parameter(negative="")] = False,
    template: Annotated[bool, Parameter(negative="")] = False,
    setup_policy: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    yes: Yes = False,
    config: Config = None,
    as_json: AsJson = False,
    rehearse: Rehearse = None,
    sagemaker: SetupFlags = None,
) -> int:
    """Make the CloudFormation stack that all else needs, or bring it up to date.

    It holds a bucket (encrypted, not public), two image repositories, a role for each kind of work
    that may do no more than that, topics that tell of asynchronous results, and a policy for the
    people who work with it. What would change is shown first. The stack itself costs nothing; what
    lies in the bucket and the repositories does.

    For example:

    - `motrail sagemaker setup --region eu-west-1`
    - `motrail sagemaker setup --input-bucket our-footage --kms-key arn:aws:kms:…:key/…`
    - `motrail sagemaker setup --template > stack.yaml`
    - `motrail sagemaker setup --yes --rehearse rehearsal`

    Parameters
    ----------
    input_bucket
        Another bucket that batches may read videos of; may be given several times.
    forget
        Give up the key, the network and the other buckets of an earlier setup that are not given
        now.
    template
        Print the template and do nothing.
    setup_policy
        Print the IAM policy that this command itself needs, and do nothing.
    dry_run
        Show what would change, and change nothing.
    yes
        Do not ask.
    config
        TOML file with a section [sagemaker]; flags win over it.
    as_json
        Print the result as one JSON document.
    """
    settings = sagemaker_settings(sagemaker, config)
    from motrail.sagemaker.requests.policy import setup_policy as policy
    from motrail.sagemaker.requests.stack import template as text

    if template:
        print(text(), end="")
        return 0
    if setup_policy:
        print_json(policy(settings.stack, settings.region))
        return 0
    from motrail.sagemaker.setup import carry_out, discard, plan_stack

    with open_cloud(settings, rehearse) as cloud:
        plan = plan_stack(cloud, settings, input_buckets=input_bucket, forget=forget)
        _show_plan(plan, cloud)
        if plan.changes:
            question = f"make these changes to the stack {plan.stack!r} in {cloud.region}"
            try:
                wanted = not dry_run and confirm(question, yes=yes)
            except KeyboardInterrupt:
                discard(cloud, plan)
                raise
            if not wanted:
                discard(cloud, plan)
                print("nothing was changed", file=sys.stderr)
                return 0 if dry_run else 1
            try:
                carry_out(cloud, plan, _tell)
            except KeyboardInterrupt:
                print(
                    "CloudFormation goes on by itself; the same command shows what came of it",
                    file=sys.stderr,
                )
                raise
        return 0 if dry_run else _report(cloud, settings, plan, as_json=as_json)


def _show_plan(plan: Plan, cloud: Cloud) -> None:
    if not plan.changes:
        print(f"the stack {plan.stack!r} in {cloud.region} is up to date", file=sys.stderr)
        return
    rows: list[tuple[Any, ...]] = [("change", "resource", "type", "")]
    rows += [
        (change.action, change.name, change.type, _REPLACED.get(change.replaced, ""))
        for change in plan.changes
    ]
    print(table(rows), file=sys.stderr)


_REPLACED = {"True": "deleted and made anew", "Conditional": "perhaps deleted and made anew"}


def _tell(event: Event) -> None:
    reason = f"  {event.reason}" if event.reason else ""
    print(f"{event.status:<28} {event.name}{reason}", file=sys.stderr, flush=True)


def _report(cloud: Cloud, settings: SageMakerSettings, plan: Plan, *, as_json: bool) -> int:
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.redact import redact

    project = find_project(cloud, settings)
    if as_json:
        shown = {key: redact(value) for key, value in dataclasses.asdict(project).items()}
        changes = [change._asdict() for change in plan.changes]
        print_json({"project": shown, "changes": changes})
        return 0
    print_rows(_rows(project))
    kept = _section(settings)
    if kept:
        print(f"\nkeep this in a file for --config:\n\n{kept}")
    print("next: motrail sagemaker build", file=sys.stderr)
    return 0


def _rows(project: Project) -> list[tuple[str, Any]]:
    from motrail.sagemaker.redact import redact

    return [
        ("stack", project.name),
        ("region", project.region),
        ("bucket", project.bucket),
        ("training", redact(project.training_image)),
        ("serving", redact(project.serving_image)),
    ]


def _section(settings: SageMakerSettings) -> str:
    """The settings that are not as they are by default, as TOML; the section alone says nothing."""
    default = type(settings)()
    lines = [
        f"{item.name} = {_toml(value)}"
        for item in dataclasses.fields(settings)
        if (value := getattr(settings, item.name)) != getattr(default, item.name)
        and value is not None
    ]
    return "\n".join(["[sagemaker]", *lines]) if lines else ""


def _toml(value: Any) -> str:
    # TOML writes text, numbers, lists and truth as JSON does.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
