"""`motrail sagemaker cleanup`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, table
from motrail.cli.progress import steps_progress
from motrail.cli.sagemaker.cloud import (
    Config,
    Rehearse,
    SageMakerFlags,
    Yes,
    confirm,
    open_cloud,
    sagemaker_settings,
)
from motrail.cli.track import PARTLY_DONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.sagemaker.leftovers import Failure, Inventory, Results, Thing
    from motrail.sagemaker.request import Cloud
    from motrail.sagemaker.setup import Event

_KIB = 1024.0


@dataclass
class Outcome:
    """What was done.

    Attributes:
        done: Kind, name and what became of it.
        objects: Deleted from the bucket.
        failures: What could not be removed.
        left: Whether something was left on purpose, as the answer was no.
    """

    done: list[dict[str, str]] = field(default_factory=list)
    objects: int = 0
    failures: list[Failure] = field(default_factory=list)
    left: bool = False

    def note(self, thing: Thing, outcome: str) -> None:
        """Keep what became of a thing, and say it."""
        self.done.append({"kind": thing.kind, "name": thing.name, "outcome": outcome})
        print(f"{thing.action:<7} {thing.kind} {thing.name}: {outcome}", file=sys.stderr)


def cleanup_command(
    *,
    keep_results: Annotated[bool, Parameter(negative="")] = False,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    yes: Yes = False,
    config: Config = None,
    as_json: AsJson = False,
    rehearse: Rehearse = None,
    sagemaker: SageMakerFlags = None,
) -> int:
    """Remove what this project made at SageMaker, so that it costs nothing any more.

    Endpoints, their configs, models, scaling and alarms are deleted, jobs in progress are stopped:
    all that carries the tag motrail:project. Then come the results, about which is asked apart:
    all that is in the bucket, and records and logs of ended jobs. With --all the stack follows,
    with its bucket and images. All is listed first. What cannot be removed does not keep the rest.

    For example:

    - `motrail sagemaker cleanup --dry-run`
    - `motrail sagemaker cleanup --keep-results --yes`
    - `motrail sagemaker cleanup --all`

    Parameters
    ----------
    keep_results
        Keep what is in the bucket, and records and logs of jobs.
    all_
        Delete the stack, too; with --keep-results its bucket stays.
    dry_run
        List, and remove nothing.
    yes
        Do not ask, about results neither.
    config
        TOML file with a section [sagemaker]; flags win over it.
    as_json
        Print what was found and done as one JSON document.
    """
    settings = sagemaker_settings(sagemaker, config)
    from motrail.sagemaker.leftovers import take_inventory

    with open_cloud(settings, rehearse) as cloud:
        found = take_inventory(cloud, settings.stack)
        outcome = Outcome(failures=list(found.failures))
        _show(found, settings.stack, cloud.region, stack=all_, keep_results=keep_results)
        if not dry_run:
            _clean(cloud, settings.stack, found, outcome, keep=keep_results, stack=all_, yes=yes)
    if as_json:
        print_json(_document(settings.stack, found, outcome, dry_run=dry_run))
    for failure in outcome.failures:
        print(f"failed: {failure.what}: {failure.why}", file=sys.stderr)
    if outcome.failures:
        return PARTLY_DONE if outcome.done or outcome.objects or dry_run else 1
    return 1 if outcome.left else 0


def _clean(
    cloud: Cloud,
    project: str,
    found: Inventory,
    outcome: Outcome,
    *,
    keep: bool,
    stack: bool,
    yes: bool,
) -> None:
    if not _remove_things(cloud, found, outcome, yes=yes):
        return
    if not keep and not _remove_results(cloud, project, found, outcome, yes=yes):
        return
    if stack and found.stack_id is not None:
        _remove_stack(cloud, project, found, outcome, yes=yes)


def _remove_things(cloud: Cloud, found: Inventory, outcome: Outcome, *, yes: bool) -> bool:
    from motrail.sagemaker.cleanup import remove, wait_until_ended

    if not (found.things or found.logs):
        return True
    if not confirm(f"delete or stop these {len(found.things) + len(found.logs)}", yes=yes):
        outcome.left = True
        return False
    outcome.failures += remove(cloud, found.things, outcome.note)
    failed = {failure.what for failure in outcome.failures}
    ended = [thing for thing in found.things if f"{thing.kind} {thing.name}" not in failed]
    with steps_progress() as progress:
        outcome.failures += wait_until_ended(cloud, ended, _counting(progress))
    outcome.failures += remove(cloud, found.logs, outcome.note)
    return True


def _remove_results(
    cloud: Cloud, project: str, found: Inventory, outcome: Outcome, *, yes: bool
) -> bool:
    from motrail.sagemaker.cleanup import empty_bucket, remove
    from motrail.sagemaker.leftovers import RECORD, list_records, list_results, noting

    # Jobs that were just stopped have written their last and have records by now.
    records: list[Thing] = []
    with noting(outcome.failures, "ended jobs"):
        records += list_records(cloud, project)
    results: list[Results] = []
    if found.bucket is not None:
        with noting(outcome.failures, "the bucket"):
            results = list_results(cloud, found.bucket)
    if not records and not results:
        return True
    objects = sum(item.objects for item in results)
    size = sum(item.size for item in results)
    jobs = sum(thing.kind.startswith(RECORD) for thing in records)
    question = f"delete {objects} objects ({_size(size)}), and records and logs of {jobs} jobs"
    if not confirm(question, yes=yes):
        outcome.left = True
        return False
    outcome.failures += remove(cloud, records, outcome.note)
    if found.bucket is not None and results:
        with noting(outcome.failures, "the bucket"), steps_progress() as progress:
            outcome.objects = empty_bucket(cloud, found.bucket, _counting(progress))
        print(f"delete  {outcome.objects} objects: done", file=sys.stderr)
    return True


def _remove_stack(
    cloud: Cloud, project: str, found: Inventory, outcome: Outcome, *, yes: bool
) -> None:
    from motrail.sagemaker.cleanup import remove_stack

    if not confirm(f"delete the stack {project!r} with its images", yes=yes):
        outcome.left = True
        return
    failures = remove_stack(cloud, found, _tell)
    outcome.failures += failures
    state = "failed" if failures else "done"
    outcome.done.append({"kind": "stack", "name": project, "outcome": state})
    print(f"delete  stack {project}: {state}", file=sys.stderr)


def _tell(event: Event) -> None:
    print(f"{event.status:<28} {event.name}", file=sys.stderr, flush=True)


def _counting(progress: Callable[[str, int, int | None], None]) -> Callable[[str, int], None]:
    total = 0

    def tell(what: str, left: int) -> None:
        nonlocal total
        total = max(total, left)
        progress(what, total - left, total)

    return tell


def _show(found: Inventory, project: str, region: str, *, stack: bool, keep_results: bool) -> None:
    with_stack = stack and found.stack_id is not None
    if found.empty and not with_stack:
        print(f"nothing of {project!r} is left in {region}", file=sys.stderr)
        return
    rows: list[tuple[Any, ...]] = [("what", "name", "to be")]
    rows += [(t.kind, t.name, f"{t.action}d".replace("stopd", "stopped"))
             for t in (*found.things, *found.logs)]  # fmt: skip
    kept = "kept" if keep_results else "deleted"
    rows += [
        (f"{r.objects} objects", _plain(r.prefix), f"{kept}, {_size(r.size)}")
        for r in found.results
    ]
    rows += [(thing.kind, thing.name, kept) for thing in found.records]
    if with_stack:
        rows.append(("stack", project, "deleted"))
    print(table(rows), file=sys.stderr)


def _plain(text: str) -> str:
    """A key as it can be shown on a terminal; S3 takes any characters."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _KIB:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _KIB
    return f"{size:.1f} TiB"


def _document(project: str, found: Inventory, outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    return {
        "project": project,
        "dry_run": dry_run,
        "found": [
            {"kind": thing.kind, "name": thing.name, "action": thing.action}
            for thing in (*found.things, *found.logs, *found.records)
        ],
        "results": [item._asdict() for item in found.results],
        "bucket": found.bucket,
        "stack": found.stack_id is not None,
        "done": outcome.done,
        "objects_deleted": outcome.objects,
        "failures": [failure._asdict() for failure in outcome.failures],
    }
