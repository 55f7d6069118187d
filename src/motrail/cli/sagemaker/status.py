"""`motrail sagemaker status`."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from motrail.cli.output import AsJson, print_json, table
from motrail.cli.sagemaker.cloud import (
    Config,
    Rehearse,
    SageMakerFlags,
    open_cloud,
    sagemaker_settings,
)

if TYPE_CHECKING:
    from motrail.sagemaker.status import Alive


def status_command(
    *,
    config: Config = None,
    as_json: AsJson = False,
    rehearse: Rehearse = None,
    sagemaker: SageMakerFlags = None,
) -> int:
    """Show what lives, endpoints and jobs in progress, and roughly what it costs an hour.

    What counts is the tag motrail:project. Prices are those of AWS's own list, in US dollars,
    without tax and discounts; disks, storage, traffic and logs come on top. What is not in the list
    is said to be unknown.

    For example:

    - `motrail sagemaker status`
    - `motrail sagemaker status --json --rehearse rehearsal`

    Parameters
    ----------
    config
        TOML file with a section [sagemaker]; flags win over it.
    as_json
        Print everything as one JSON document.
    """
    settings = sagemaker_settings(sagemaker, config)
    from motrail.sagemaker.status import survey

    with open_cloud(settings, rehearse) as cloud:
        alive, trouble = survey(cloud, settings.stack)
        if as_json:
            rows = [dataclasses.asdict(item) for item in alive]
            total, unknown = _total(alive)
            document = {"project": settings.stack, "region": cloud.region, "alive": rows}
            print_json(document | {"dollars_an_hour": total, "unknown": unknown})
        else:
            _show(alive, settings.stack, cloud.region, rehearsal=cloud.rehearsal)
    if trouble is not None:
        print(f"note: prices are not known: {trouble}", file=sys.stderr)
    return 0


def _show(alive: list[Alive], project: str, region: str, *, rehearsal: bool) -> None:
    if not alive:
        print(f"nothing of {project!r} lives in {region}")
        return
    rows: list[tuple[Any, ...]] = [("what", "name", "state", "instances", "$ an hour", "")]
    for item in alive:
        machines = ", ".join(
            f"{'?' if each.count is None else each.count} × {each.type}" for each in item.instances
        )
        cost = "unknown" if item.dollars is None else f"{item.dollars:.2f}"
        rows.append((item.kind, item.name, item.status, machines or "–", cost, item.note))
    print(table(rows))
    total, unknown = _total(alive)
    more = f", and {unknown} of unknown cost" if unknown else ""
    print(f"\nabout ${total:.2f} an hour{more}")
    if rehearsal:
        print("a rehearsal costs nothing", file=sys.stderr)


def _total(alive: list[Alive]) -> tuple[float, int]:
    """What is known of the cost, and of how many it is not known."""
    known = [item.dollars for item in alive if item.dollars is not None]
    return sum(known), len(alive) - len(known)
